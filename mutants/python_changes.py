"""Changes of Python code: comparisons, arithmetic, conditions, constants, calls and statements.

They are the usual operators of mutation testing. Left out is what no test should depend on:
docstrings, annotations, log lines, the words of errors, one second more in a constant duration, and
`strict` in zip, which tells what holds anyway.
"""

import ast
from collections.abc import Iterator
from typing import Final

from mutants.lua_changes import lua_changes
from mutants.mutant import Mutant

_COMPARISONS: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_NAMES: Final = {
    "min": "max",
    "max": "min",
    "any": "all",
    "all": "any",
    "lower": "upper",
    "upper": "lower",
    "startswith": "endswith",
    "endswith": "startswith",
    "append": "remove",
}
_LOGS: Final = ("log.", "_log.", "self._log.", "outage.", "self._outage.", "warnings.")


class PythonChanges(ast.NodeVisitor):
    """Collects the mutants of one file in `found`."""

    def __init__(self, path: str, source: bytes) -> None:
        self.found: list[Mutant] = []
        self._path = path
        self._source = source
        self._line_starts = [0]
        for line in source.splitlines(keepends=True):
            self._line_starts.append(self._line_starts[-1] + len(line))
        self._places: list[str] = []
        self._around: list[ast.AST] = []
        self._functions = 0

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._inside(node.name, node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._functions += 1
        self._inside(node.name, node)
        self._functions -= 1

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def _inside(self, name: str, node: ast.AST) -> None:
        self._places.append(name)
        self._around.append(node)
        for field, value in ast.iter_fields(node):
            if field in ("returns", "decorator_list", "bases", "annotation", "target"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not _is_text(child):
                    self.visit(child)
        self._places.pop()
        self._around.pop()

    def visit_arg(self, node: ast.arg) -> None:
        """Annotations are no code."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is None or _is_duration(node):
            return
        if self._places:
            self.visit(node.value)
        else:
            self._inside(ast.unparse(node.target), node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if ast.unparse(node.targets[0]) != "__all__":
            self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Python 3.11 tells no positions inside f-strings."""
        text = ast.get_source_segment(self._source.decode(), node) or ""
        if "redis." in text:
            self._lua(node)

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) != "TYPE_CHECKING":
            self._negate(node.test)
            self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        if not isinstance(node.test, ast.Constant):
            self._negate(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._negate(node.test)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for condition in node.ifs:
            self._negate(condition)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        for number, operator in enumerate(node.ops):
            ops = list(node.ops)
            ops[number] = _COMPARISONS[type(operator)]()
            self._replace(node, ast.Compare(node.left, ops, node.comparators))
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if _joins_texts(node):
            for part in ast.walk(node):
                if isinstance(part, ast.Constant | ast.JoinedStr):
                    self.visit(part)
            return
        changed = _ARITHMETIC.get(type(node.op))
        # Outside functions, `|` joins types.
        if changed is not None and (self._functions or not isinstance(node.op, ast.BitOr)):
            self._replace(node, ast.BinOp(node.left, changed(), node.right))
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        changed = _ARITHMETIC.get(type(node.op))
        if changed is not None:
            self._replace(node, ast.AugAssign(node.target, changed(), node.value))
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        self._replace(node, ast.BoolOp(other, node.values))
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not | ast.USub):
            self._replace(node, node.operand)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        match node.value:
            case bool():
                self._replace(node, ast.Constant(not node.value))
            case int() | float():
                self._replace(node, ast.Constant(node.value + 1))
            case str() if "redis." in node.value:
                self._lua(node)
            case str() | bytes() if node.value and len(node.value.split()) == 1:
                longer = node.value + ("X" if isinstance(node.value, str) else b"X")  # type: ignore[operator]
                self._replace(node, ast.Constant(longer))

    def visit_Call(self, node: ast.Call) -> None:
        called = ast.unparse(node.func)
        if called.startswith(_LOGS):
            return
        if called == "zip":
            node = ast.copy_location(ast.Call(node.func, node.args, []), node)
        for number, keyword in enumerate(node.keywords):
            if keyword.arg is not None and self._functions:
                others = [*node.keywords[:number], *node.keywords[number + 1 :]]
                self._replace(node, ast.Call(node.func, node.args, others))
        name = called.rpartition(".")[2]
        if name in _NAMES:
            new = called.removesuffix(name) + _NAMES[name]
            self._replace(node.func, ast.parse(new, mode="eval").body)
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if _is_text(node):
            return
        called = node.value.value if isinstance(node.value, ast.Await) else node.value
        if isinstance(called, ast.Call):
            if ast.unparse(called.func).startswith(_LOGS):
                return
            self._replace(node, ast.Pass())
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None and ast.unparse(node.value) != "None":
            self._replace(node, ast.Return(ast.Constant(None)))
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self._replace(node, ast.Pass())

    def visit_Assert(self, node: ast.Assert) -> None:
        """They tell the type checker what holds anyway."""

    def visit_Break(self, node: ast.Break) -> None:
        self._replace(node, ast.Continue())

    def visit_Continue(self, node: ast.Continue) -> None:
        self._replace(node, ast.Break())

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if not isinstance(node.body[0], ast.Raise):
            first, last = node.body[0], node.body[-1]
            self._add(*self._span(first)[:1], self._span(last)[1], "raise", first.lineno, last)
        for child in node.body:
            self.visit(child)

    def _negate(self, test: ast.expr) -> None:
        """Changes a condition as a whole, unless one of its parts will be changed so anyway."""
        single = isinstance(test, ast.Compare) and len(test.ops) == 1
        if not single and not (isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)):
            self._replace(test, ast.UnaryOp(ast.Not(), test))

    def _replace(self, old: ast.expr | ast.stmt, new: ast.AST) -> None:
        text = ast.unparse(ast.fix_missing_locations(new))
        if isinstance(new, ast.expr) and not isinstance(
            new, ast.Constant | ast.Name | ast.Attribute | ast.Call
        ):
            text = f"({text})"
        self._add(*self._span(old), text, old.lineno, old)

    def _lua(self, node: ast.expr) -> None:
        begin, end = self._span(node)
        text = self._source[begin:end].decode()
        for start, stop, new in lua_changes(text):
            offset = begin + len(text[:start].encode())
            line = node.lineno + text[:start].count("\n")
            before = text[start:stop]
            length = len(before.encode())
            self._found(offset, offset + length, new, (line, line))

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        begin = self._line_starts[node.lineno - 1] + node.col_offset
        return begin, self._line_starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)

    def _add(self, begin: int, end: int, after: str, line: int, last: ast.AST) -> None:
        self._found(begin, end, after, (line, getattr(last, "end_lineno", None) or line))

    def _found(self, begin: int, end: int, after: str, lines: tuple[int, int]) -> None:
        before = self._source[begin:end].decode()
        place = ".".join(self._places) or "module"
        line = self._source.splitlines()[lines[0] - 1].decode()
        outer = self._around[-1] if self._around else None
        around = (getattr(outer, "lineno", lines[0]), getattr(outer, "end_lineno", lines[1]))
        self.found.append(
            Mutant(self._path, begin, end, before, after, lines, place, around, line.strip())
        )


def changes(path: str, source: bytes) -> Iterator[Mutant]:
    """All mutants of a Python file, in the order of their places; some cannot be compiled."""
    visitor = PythonChanges(path, source)
    for node in ast.parse(source).body:
        if not _is_text(node):
            visitor.visit(node)
    yield from sorted(visitor.found, key=lambda mutant: (mutant.begin, mutant.end))


def compiles(mutant: Mutant, source: bytes) -> bool:
    """Whether the changed file is still Python."""
    try:
        compile(mutant.applied(source), mutant.path, "exec")
    except SyntaxError:
        return False
    return True


def _is_duration(node: ast.AnnAssign) -> bool:
    return isinstance(node.value, ast.Constant) and ast.unparse(node.target).endswith(("_S", "_MS"))


def _joins_texts(node: ast.expr) -> bool:
    """Whether it adds a literal text to something."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _joins_texts(node.left) or _joins_texts(node.right)
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
    )


def _is_text(node: ast.AST) -> bool:
    """Whether a statement is a docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
