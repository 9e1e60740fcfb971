"""Record base: frozen fields, read-only float32 arrays with named axes, a digest, a table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Annotated, Any, ClassVar, Self, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, model_serializer, model_validator
from pydantic_core import CoreSchema, ValidationError, core_schema

from site_lens.records.display import CellMap, Displayed, few
from site_lens.records.errors import InputError
from site_lens.records.hashing import digest_arrays, digest_json
from site_lens.records.lazy_pandas import pd
from site_lens.records.type_checks import checked_methods

Float32 = NDArray[np.float32]


SLACK = 1e-4
"""What rounding in float32 may add to a number beyond its bound."""

Count = Annotated[int, Field(ge=0)]
"""A number of things, or the place of one."""


Lengths = Mapping[str, int | str]
"""Lengths of axes and tuple fields: a number, or the axis that is as long."""


@dataclass(frozen=True, slots=True)
class Axes:
    """Annotation of an array field: the names of its axes, in order, and between which numbers its values lie."""

    names: tuple[str, ...]
    least: float | None = None
    most: float | None = None
    missing: bool = False
    """Whether NaN is allowed, where there was nothing to measure."""

    def check(self, value: object) -> Float32:
        """Turn `value` into a read-only float32 array with these axes."""
        try:
            with np.errstate(over="ignore"):  # too large for float32 is not finite, which is said below
                array = np.array(value, dtype=np.float32, order="C")  # files hold the bytes in this order
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"needs numbers with axes ({' '.join(self.names)}): {error}") from None
        if array.ndim != len(self.names):
            raise ValueError(f"needs axes ({' '.join(self.names)}), got an array of shape {array.shape}")
        known = array[~np.isnan(array)] if self.missing else array
        if not np.isfinite(known).all():
            raise ValueError("holds numbers that are not finite")
        low, high = (known.min(), known.max()) if known.size else (0.0, 0.0)
        least, most = (-np.inf if self.least is None else self.least), (np.inf if self.most is None else self.most)
        if known.size and not (least - SLACK <= low and high <= most + SLACK):
            raise ValueError(
                f"holds numbers from {low:g} to {high:g}; they can only lie between {least:g} and {most:g}"
            )
        array.setflags(write=False)
        return array

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.check)


LayerHead = Annotated[Float32, Axes(("layer", "head"))]
"""(layer head): one number a head; places without a head hold 0."""

LayerHeadD = Annotated[Float32, Axes(("layer", "head", "d_head"))]
"""(layer head d_head): one vector a head."""


def readable(error: ValidationError) -> str:
    """Say in one line what pydantic found wrong first, and where."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    came = " ".join(f"{first['input']!r:.80}".split())
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message} (got {came})" if where else message


SCALARS = ("int", "float", "bool", "str")


def strict(schema: Any) -> Any:
    """Let whole numbers, numbers, truth values and texts stand for no other of them: neither True, "1" nor 1.0 is 1.

    Numbers of numpy are taken for what they are.
    """
    if isinstance(schema, list | tuple):
        return type(schema)(strict(part) for part in schema)
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") in SCALARS and "strict" not in schema:
        return core_schema.no_info_before_validator_function(_of_python, schema | {"strict": True})
    kept = ("default", "metadata", "serialization")
    return {key: part if key in kept else strict(part) for key, part in schema.items()}


def _of_python(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value


_OF_PYDANTIC = frozenset(name for name in dir(BaseModel) if not name.startswith("_"))
"""Names that every pydantic model has."""


class Frozen(BaseModel):
    """A value checked on creation that never changes; use `replace` for a changed copy."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)

    lengths: ClassVar[Lengths] = {}
    """Lengths of axes and tuple fields that their names do not say: a number, or an axis that is as long.

    `{"kind": 3, "target": "task", "families": "task"}`: the axis `kind` has length 3; the axis `target` and the field
    `families` are as long as the axis `task`. See `check_axes`."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        checked_methods(cls)

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise InputError(f"{type(self).__name__}: {readable(error)}") from None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema: CoreSchema = strict(handler(source))
        return schema

    @model_validator(mode="after")
    def _axes_agree(self) -> Self:
        check_axes(self)
        return self

    def __dir__(self) -> list[str]:
        """Offer our own names to tab completion; those of pydantic work, and are not offered."""
        return sorted(set(super().__dir__()) - _OF_PYDANTIC)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, checked like a new one."""
        return type(self)(**{name: getattr(self, name) for name in type(self).model_fields} | changes)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Do what `replace` does: pydantic's own copy skips the checks and keeps the digest of the original."""
        return self.replace(**(update or {}))

    def parts(self) -> tuple[dict[str, Float32], dict[str, Any]]:
        """Split into arrays by dotted name and JSON fields that refer to them as `{"$array": name}`."""
        arrays: dict[str, Float32] = {}
        return arrays, split(self.model_dump(mode="python"), (), arrays)

    @cached_property
    def digest(self) -> str:
        """64 hexadecimal digits that change whenever any field does."""
        arrays, fields = self.parts()
        return digest_json([*self._digested(), fields, digest_arrays(arrays)])

    def _digested(self) -> tuple[str | int, ...]:
        return (type(self).__name__,)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, Frozen) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


def leaves_out(**usual: object) -> Any:
    """Return a serializer that leaves out fields at these values: the first records lack them, and keep their digests.

    None stands for what is unknown. A class has it as an attribute, under any name that begins with an underscore.
    """

    def write_the_rest(self: Frozen, write: Callable[[Frozen], dict[str, Any]]) -> dict[str, Any]:
        return {name: value for name, value in write(self).items() if name not in usual or value != usual[name]}

    return model_serializer(mode="wrap")(write_the_rest)


@cache
def array_axes(record_class: type[Frozen]) -> dict[str, tuple[str, ...]]:
    """Return the axis names of each array field of a record class, optional arrays included."""
    axes: dict[str, tuple[str, ...]] = {}
    for name, field in record_class.model_fields.items():
        options = [tuple(field.metadata), *(getattr(part, "__metadata__", ()) for part in get_args(field.annotation))]
        axes.update({name: mark.names for marks in options for mark in marks if isinstance(mark, Axes)})  # noqa: B035
    return axes


def plural(axis: str) -> str:
    """Return the name of the tuple field that names the places of an axis: `tasks` of `task`, `queries` of `query`."""
    return f"{axis[:-1]}ies" if axis.endswith("y") else f"{axis}s"


def check_axes(record: Frozen) -> None:
    """Check that every axis of a record has one length, wherever it occurs.

    An axis occurs in array fields, which name their axes; in the tuple field whose name is its plural; in fields and
    axes that `lengths` declares; and in the model: arrays with `layer` and `head` fit `grid` or `model.grid`, `d_head`
    fits `model.d_head`. Texts that name the places of an axis are distinct (those of queries may repeat), and `heads`
    are heads of the grid. Optional fields at their default are not checked.

    Raises:
        ValueError: Two fields disagree, a name comes twice, or a head is not in the grid.
    """
    axes, fields = array_axes(type(record)), type(record).model_fields
    used = {axis for names in axes.values() for axis in names}
    places = {plural(axis): axis for axis in used if (axis, "layer" in used) != ("head", True)}
    places |= {name: name for name in record.lengths if name in fields}
    lengths: dict[str, tuple[int, str]] = {}

    def meet(axis: str, length: int, where: str) -> None:
        while isinstance(target := record.lengths.get(axis, length), str):
            axis = target
        known, first = lengths.setdefault(axis, (target, type(record).__name__ if axis in record.lengths else where))
        if length != known:
            raise ValueError(f"{where} has {length} along {axis}, {first} has {known}")

    model = getattr(record, "model", None)
    grid = getattr(record, "grid", getattr(model, "grid", None))
    if grid is not None and "layer" in used:
        meet("layer", grid.shape[0], "grid")
        meet("head", grid.shape[1], "grid")
    if model is not None and "d_head" in used:
        meet("d_head", model.d_head, "model")
    for name in fields:
        value = getattr(record, name)
        if name in places and isinstance(value, tuple) and value != fields[name].default:
            meet(places[name], len(value), name)
            is_named = name not in record.lengths and places[name] != "query" and all(isinstance(v, str) for v in value)
            if is_named and len(set(value)) < len(value):
                raise ValueError(f"{name} must be distinct, got {value}")
        elif name in axes and isinstance(value, np.ndarray):
            for axis, length in zip(axes[name], value.shape, strict=True):
                meet(axis, length, name)
    if grid is not None and "heads" in fields.keys() & places.keys():
        for head in getattr(record, "heads"):  # noqa: B009
            if head not in grid:
                raise ValueError(f"{head} is not in a grid of {grid}")


class Record(Displayed, Frozen):
    """A result at rest: it saves to `<name>.safetensors` + `<name>.json` and loads without torch."""

    kind: ClassVar[str]
    """Name under which the record is stored."""

    schema_version: ClassVar[int] = 1
    """Raised when the stored fields change meaning."""

    def frame(self) -> "pd.DataFrame":
        """Return the record as a tidy table, one row per observation."""
        raise NotImplementedError(f"{type(self).__name__} has no table")

    def _facts(self) -> Mapping[str, object]:
        """Return the fields that fit a header: numbers, texts, names of places, grid and model; no digests."""
        facts: dict[str, object] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if name.endswith(("digest", "digests")) or name in ("versions", "notes") or value is None:
                continue
            if name == "model":
                facts[name] = value.name
            elif name == "grid" or isinstance(value, str | int | float):
                facts[name] = value
            elif _are_texts(value):
                facts[name] = f"{len(value)} ({few(value)})"
        return facts

    def _maps(self) -> Mapping[str, CellMap]:
        """Return the first field that is a map of all heads, or one map for each place of its other axis."""
        grid = getattr(self, "grid", getattr(getattr(self, "model", None), "grid", None))
        for name, axes in array_axes(type(self)).items():
            values = getattr(self, name)
            if grid is None or values is None or axes[-2:] != ("layer", "head") or len(axes) > 3:
                continue
            if len(axes) == 2:
                return {name: CellMap(values, grid.mask)}
            named = [field for field, axis in self.lengths.items() if axis == axes[0]]
            places = next((v for f in (plural(axes[0]), *named) if _are_texts(v := getattr(self, f, None))), None)
            captions = places or [f"{axes[0]} {i}" for i in range(len(values))]
            return {
                f"{caption}: {name}": CellMap(one, grid.mask) for caption, one in zip(captions, values, strict=True)
            }
        return {}

    def _brief(self) -> str:
        """Return what a collection shows of the record beside its name, in a few words."""
        return ""

    def _tables(self) -> "Mapping[str, Callable[[], pd.DataFrame]]":
        return {"table": self.frame}

    def _digested(self) -> tuple[str | int, ...]:
        return (self.kind, self.schema_version)


def _are_texts(value: object) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(part, str) for part in value)


def split(value: Any, path: tuple[str, ...], arrays: dict[str, Float32]) -> Any:
    """Replace every array inside `value` by a reference, collecting the arrays by dotted name."""
    if isinstance(value, np.ndarray):
        arrays[".".join(path)] = value
        return {"$array": ".".join(path)}
    return _walk(value, path, lambda child, at: split(child, at, arrays))


def join(value: Any, arrays: Mapping[str, Float32]) -> Any:
    """Put the arrays back where `split` took them out; raises KeyError if one is not there."""
    if isinstance(value, dict) and set(value) == {"$array"}:
        return arrays[value["$array"]]
    return _walk(value, (), lambda child, path: join(child, arrays))


def _walk(value: Any, path: tuple[str, ...], visit: Callable[[Any, tuple[str, ...]], Any]) -> Any:
    if isinstance(value, dict):
        return {key: visit(child, (*path, str(key))) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [visit(child, (*path, str(i))) for i, child in enumerate(value)]
    return value
