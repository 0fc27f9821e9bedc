"""The small errors that can be put into a source file, and which of them are chosen.

A mutation is known by what it changes, not by where the file lies: area, enclosing definition, operator, text of the
line, and the how-manieth of its like. So the same ones are chosen and found again after files were moved.
"""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

# The first area that matches takes a file.
AREAS: dict[str, tuple[str, ...]] = {
    "health": ("runtime/mmg/**/health.py",),
    "engine": ("runtime/mmg/engine/**/*.py",),
    "streams": ("runtime/mmg/streams/**/*.py",),
    "sources": ("runtime/mmg/sources/**/*.py",),
    "bundle": ("runtime/mmg/bundle/**/*.py",),
    "export": ("export/mmg_export/**/*.py",),
    "batch": ("batch/mmg_batch/*.py",),
}

_COMPARISONS = {
    "<": "<=",
    "<=": "<",
    ">": ">=",
    ">=": ">",
    "==": "!=",
    "!=": "==",
    "is": "is not",
    "is not": "is",
    "in": "not in",
    "not in": "in",
}
_ARITHMETIC = {"+": "-", "-": "+", "*": "/", "/": "*", "//": "*"}
_LOGIC = {"and": "or", "or": "and"}
_LARGE = 1e6
"""From here on a number is doubled: one more would be lost in it."""
_WITHOUT_EFFECT = {"strict"}
"""Keywords that only check what holds anyway."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """where: the qualified name of the enclosing definition. line: without its indentation. ordinal: which one of those
    that are equal in all before it. begin and end: what ``after`` replaces, in characters."""

    area: str
    where: str
    operator: str
    line: str
    ordinal: int
    path: str
    row: int
    begin: int
    end: int
    before: str
    after: str

    @property
    def identity(self) -> tuple[str, str, str, str, int]:
        """What it is known by wherever its file lies."""
        return self.area, self.where, self.operator, self.line, self.ordinal

    def apply(self, text: str) -> str:
        """The file's text with this error in it."""
        return text[: self.begin] + self.after + text[self.end :]


@dataclass(frozen=True, slots=True)
class _Spot:
    """A mutation before it is numbered."""

    where: str
    operator: str
    row: int
    begin: int
    end: int
    after: str


class _Finder(ast.NodeVisitor):
    """Collects the spots of one file. Left out are annotations, decorators, strings and TYPE_CHECKING."""

    def __init__(self, text: str) -> None:
        self.spots: list[_Spot] = []
        self._text, self._names, self._plain = text, list[str](), True
        self._lines = text.split("\n")
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line) + 1)
        self._tokens = [
            (self._starts[token.start[0] - 1] + token.start[1], self._starts[token.end[0] - 1] + token.end[1])
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type in (tokenize.OP, tokenize.NAME, tokenize.NUMBER)
        ]
        self.visit(ast.parse(text))

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        def place(row: int, column: int) -> int:
            return self._starts[row - 1] + len(self._lines[row - 1].encode()[:column].decode())

        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return place(node.lineno, node.col_offset), place(node.end_lineno, node.end_col_offset)

    def _add(self, operator: str, begin: int, end: int, after: str) -> None:
        row = self._text.count("\n", 0, begin) + 1
        self.spots.append(_Spot(".".join(self._names), operator, row, begin, end, after))

    def _replace(self, operator: str, node: ast.expr | ast.stmt, after: str) -> None:
        self._add(operator, *self._span(node), after)

    def _between(self, left: ast.expr, right: ast.expr, others: dict[str, str], suffix: str = "") -> None:
        """Change the operator that stands between two operands, if it is one that has another."""
        begin, end = self._span(left)[1], self._span(right)[0]
        words = [span for span in self._tokens if begin <= span[0] and span[1] <= end]
        words = [(a, b) for a, b in words if self._text[a:b] not in "()"]
        before = " ".join(self._text[a:b] for a, b in words)
        if (after := others.get(before.removesuffix(suffix))) is not None:
            self._add(f"{before} to {after}{suffix}", words[0][0], words[-1][1], after + suffix)

    def _enter(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, *children: ast.AST | None) -> None:
        plain = self._plain
        self._names.append(node.name)
        if not isinstance(node, ast.ClassDef):
            self._plain = not any(isinstance(inner, ast.Yield | ast.YieldFrom) for inner in ast.walk(node))
        for child in (*children, *node.body):
            if child is not None:
                self.visit(child)
        self._names.pop()
        self._plain = plain

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._enter(node, *node.args.defaults, *node.args.kw_defaults)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._enter(node, *node.args.defaults, *node.args.kw_defaults)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._enter(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        if not any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets):
            self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        pass

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg not in _WITHOUT_EFFECT:
            self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        names = {name.id for name in ast.walk(node.test) if isinstance(name, ast.Name)}
        if names & {"TYPE_CHECKING", "__name__"}:
            for statement in node.orelse:
                self.visit(statement)
            return
        if not _is_turned_by_itself(node.test):
            begin, end = self._span(node.test)
            self._add("negate if", begin, end, f"not ({self._text[begin:end]})")
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        for left, right in zip([node.left, *node.comparators], node.comparators, strict=False):
            self._between(left, right, _COMPARISONS)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        for left, right in zip(node.values, node.values[1:], strict=False):
            self._between(left, right, _LOGIC)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if not (_is_no_number(node.left) or _is_no_number(node.right)):
            self._between(node.left, node.right, _ARITHMETIC)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._replace("delete", node, "pass")
        if not _is_no_number(node.value):
            self._between(node.target, node.value, _ARITHMETIC, "=")
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            begin, _ = self._span(node)
            following = min(span[0] for span in self._tokens if span[0] > begin)
            self._add("drop not", begin, following, "")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self._replace(f"{value} to {not value}", node, str(not value))
        elif isinstance(value, int | float):
            after = str(value + 1 if value < _LARGE else 2 * value)
            begin, end = self._span(node)
            self._add(f"{self._text[begin:end]} to {after}", begin, end, after)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id in ("min", "max"):
            after = {"min": "max", "max": "min"}[node.func.id]
            self._replace(f"{node.func.id} to {after}", node.func, after)
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        value = node.value
        if value is not None and self._plain and not (isinstance(value, ast.Constant) and value.value in (None, False)):
            self._replace("return None", value, "None")
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self._replace("delete", node, "pass")
        self.generic_visit(node)


def _is_turned_by_itself(test: ast.expr) -> bool:
    """Whether another operator makes its opposite anyway."""
    if isinstance(test, ast.Compare):
        return len(test.ops) == 1 and not isinstance(test.ops[0], ast.Lt | ast.LtE | ast.Gt | ast.GtE)
    return isinstance(test, ast.UnaryOp | ast.Constant)


def _is_no_number(node: ast.expr) -> bool:
    """Whether arithmetic on it would fail at once, as on a list or a text."""
    kinds = ast.List | ast.Tuple | ast.Dict | ast.ListComp | ast.JoinedStr
    return isinstance(node, kinds) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes))


def read_source(path: Path) -> str:
    """A file's text, line ends and all."""
    return path.read_bytes().decode()


def find_mutations(root: Path) -> list[Mutation]:
    """Every mutation of the tree, in the order of its areas."""
    found: list[Mutation] = []
    taken: set[Path] = set()
    for area, patterns in AREAS.items():
        paths = {path for pattern in patterns for path in root.glob(pattern)} - taken
        taken |= paths
        equals: Counter[tuple[str, str, str]] = Counter()
        # By name first: the numbers of equal ones stay when a file goes to another folder.
        for path in sorted(paths, key=lambda path: (path.name, path)):
            text = read_source(path)
            lines = text.split("\n")
            for spot in sorted(_Finder(text).spots, key=lambda spot: (spot.begin, spot.end, spot.operator)):
                line = " ".join(lines[spot.row - 1].split())
                kind = spot.where, spot.operator, line
                found.append(
                    Mutation(
                        area=area,
                        where=spot.where,
                        operator=spot.operator,
                        line=line,
                        ordinal=equals[kind],
                        path=path.relative_to(root).as_posix(),
                        row=spot.row,
                        begin=spot.begin,
                        end=spot.end,
                        before=text[spot.begin : spot.end],
                        after=spot.after,
                    )
                )
                equals[kind] += 1
    return found


def choose(root: Path, mutations: Sequence[Mutation], count: int, seed: int) -> list[Mutation]:
    """So many of them, as many from each area: those that come first by a hash of seed and identity."""
    chosen: list[Mutation] = []
    for number, area in enumerate(AREAS):
        wanted = count // len(AREAS) + (number < count % len(AREAS))
        ranked = sorted((one for one in mutations if one.area == area), key=lambda one: _rank(one, seed))
        chosen += islice(_that_parse(root, ranked), wanted)
    return chosen


def _rank(mutation: Mutation, seed: int) -> str:
    return hashlib.sha256(repr((seed, *mutation.identity)).encode()).hexdigest()


def _that_parse(root: Path, mutations: Iterable[Mutation]) -> Iterator[Mutation]:
    for mutation in mutations:
        try:
            ast.parse(mutation.apply(read_source(root / mutation.path)))
        except SyntaxError:
            continue
        yield mutation


def find_again(saved: Sequence[Mutation], mutations: Sequence[Mutation]) -> list[Mutation | None]:
    """Each saved one in a tree that has changed, by identity, else by operator and line; None where it is gone."""
    exact = {one.identity: one for one in mutations}
    found = [exact.get(one.identity) for one in saved]
    taken = {one.identity for one in found if one is not None}
    for number, old in enumerate(saved):
        if found[number] is None:
            key = old.area, old.operator, old.line
            alike = [one for one in mutations if (one.area, one.operator, one.line) == key]
            alike = [one for one in alike if one.identity not in taken]
            # The name that it had inside counts most.
            alike.sort(key=lambda one: (_last(one.where) != _last(old.where), abs(one.ordinal - old.ordinal)))
            if alike:
                found[number] = alike[0]
                taken.add(alike[0].identity)
    return found


def _last(where: str) -> str:
    return where.rpartition(".")[2]
