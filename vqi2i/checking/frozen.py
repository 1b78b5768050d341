"""The base of configurations and of what is read from files."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Complete, never changed, and a misspelt or unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
