// What keeps the page when a view fails by a mistake of ours: the error is told in its place, and the
// links to the other views work.
import { Component } from "preact";
import { html } from "./html.js";
import { ErrorBox } from "./ui.js";

/** `of`: the address that is shown; another one is another try. */
export class Guard extends Component {
  state = { error: null, of: null };

  componentDidCatch(error) {
    console.error(error);
    this.setState({ error, of: this.props.of });
  }

  componentDidUpdate({ of }) {
    if (of !== this.props.of && this.state.error !== null) this.setState({ error: null });
  }

  render({ of, title, children }, { error, of: failed }) {
    if (error === null || failed !== of) return children;
    const again = () => this.setState({ error: null });
    return html`
      <h1 tabindex="-1">${title}</h1>
      <${ErrorBox} error=${{ detail: String(error.message ?? error) }} what="The page has failed here" retry=${again} />
    `;
  }
}
