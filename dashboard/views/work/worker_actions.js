// What the sections share about workers: paths, what is asked before one is stopped, and answers in
// words.

/** The path of a worker, or of something below it. */
export const workerPath = (name, rest = "") => `api/workers/${encodeURIComponent(name)}${rest}`;

/** What is asked before a worker is stopped. */
export function stopping(name, kind) {
  const text =
    kind === "schedule"
      ? "Its schedule fires no more, also after a restart, until it is started. What is running ends by itself, and what it misses is not made up."
      : "It disconnects, and stays so, also after a restart, until it is started.";
  return { title: `Stop ${name}?`, text, button: `Stop ${name}` };
}

/** The answer to a run that was asked for. */
export function toldRun({ id, worker, state, coalesced }) {
  return coalesced ? `${worker}: run ${id} was ${state} already and answers for it` : `${worker}: run ${id} is ${state}`;
}
