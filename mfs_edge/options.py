"""A target's own options: a typed model that it declares, from which help, checks and docs are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from mfs_edge.base.errors import UsageError, nearest


@dataclass(frozen=True)
class Option:
    """One option, for people."""

    name: str
    type: str  # what may be chosen from, or the type's name
    default: str
    description: str


class TargetOptions(BaseModel):
    """For ``--set TARGET.OPTION=VALUE``; this one has none.

    Every field has a default and a description. One that offers a choice is a ``Literal``; one whose
    default depends on the precision is None until :meth:`resolved`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    def resolved(self, precision: str) -> Self:
        """With what depends on ``precision`` filled in."""
        return self

    @classmethod
    def offered(cls) -> tuple[Option, ...]:
        """Every option, in the model's order."""
        return tuple(
            Option(name, _type_name(field.annotation), _text(field.default), field.description or "")
            for name, field in cls.model_fields.items()
        )

    @classmethod
    def parsed(cls, target: str, given: Mapping[str, Any]) -> Self:
        """From values, or from text as on the command line.

        Raises:
            UsageError: there is no such option or value; the message says what is offered.
        """
        offered = {option.name: option for option in cls.offered()}
        for name in given.keys() - offered.keys():
            there = f"{nearest(name, offered)}there are: {', '.join(offered)}" if offered else "it has none"
            raise UsageError(f"--set {target}.{name}: target {target} has no option {name}; {there}")
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            name, value = str(error.errors()[0]["loc"][0]), _text(error.errors()[0]["input"])
            takes = offered[name].type
            hint = f"{nearest(value, takes.split(', '))}it takes {takes}"
            raise UsageError(f"--set {target}.{name}={value}: cannot be used; {hint}") from error

    @field_validator("*", mode="before")
    @classmethod
    def _chosen(cls, value: Any, info: ValidationInfo) -> Any:
        """Text is taken for the choice that it names."""
        choices = {_text(choice): choice for choice in _choices(cls.model_fields[str(info.field_name)].annotation)}
        return choices.get(value, value) if isinstance(value, str) else value


def _choices(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return tuple(choice for kind in get_args(annotation) for choice in _choices(kind))


def _type_name(annotation: Any) -> str:
    """``Literal[16, 17] | None`` -> "16, 17"; None only stands for a default."""
    if choices := _choices(annotation):
        return ", ".join(map(_text, choices))
    kinds = [kind for kind in get_args(annotation) if kind is not type(None)] or [annotation]
    return ", ".join(str(getattr(kind, "__name__", kind)) for kind in kinds)


def _text(value: Any) -> str:
    """As it is written on the command line."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
