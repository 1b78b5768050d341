"""Joining a Ray cluster; Ray itself would wait ten minutes for one that is gone."""

import os
import socket
from typing import Any

from errors import UserError

_PATIENCE = 10.0  # seconds
_ALIVE = (
    "/ray.rpc.NodeInfoGcsService/CheckAlive"  # what `ray health-check` asks a cluster's head, too
)
_CLIENT = "ray://"


def connect(address: str, **how: Any) -> None:
    """Join the Ray cluster at an address, or start a Ray that belongs to this process.

    Args:
        address: HOST:PORT of a cluster's head, ray://HOST:PORT, `auto` for this machine's, `local`
            for one of our own.
        how: further arguments of `ray.init`.

    Raises:
        UserError: no cluster answers there.
    """
    import ray

    if address == "local":
        ray.init(address=address, **how)
        return
    try:
        ray.init(address=expect(address), **how)
    except (ConnectionError, RuntimeError) as error:
        raise _nobody(address, str(error)) from error


def expect(address: str) -> str:
    """The address with what is left to Ray's search filled in, if somebody answers there.

    Raises:
        UserError: nobody does.
    """
    if address == "local":
        return address
    try:
        return _answering(address)
    except ConnectionError as error:
        raise _nobody(address, str(error)) from error


def _answering(address: str) -> str:
    from ray._private.services import canonicalize_bootstrap_address_or_die

    if address.startswith(_CLIENT):
        target = address.removeprefix(_CLIENT)
    elif "://" in address:
        return address  # of a kind that a plugin of Ray's knows
    else:
        try:
            address = target = canonicalize_bootstrap_address_or_die(address)
        except ValueError as error:
            raise _nobody(address, "it is not of the form HOST:PORT") from error
    if (silence := _silence(target, head=target == address)) is not None:
        raise ConnectionError(silence)
    return address


def _silence(target: str, *, head: bool) -> str | None:
    """Why nothing can be joined at HOST:PORT; None if a cluster answers."""
    import grpc

    if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):  # Ray knows the certificates
        return _unreachable(target)
    with grpc.insecure_channel(target, options=(("grpc.enable_http_proxy", 0),)) as channel:
        try:
            channel.unary_unary(_ALIVE, None, None)(b"", timeout=_PATIENCE)
        except grpc.RpcError as error:
            return _reason(error, head=head)
    return None


def _reason(error: Any, *, head: bool) -> str | None:
    import grpc

    match error.code():
        case grpc.StatusCode.UNIMPLEMENTED if head:
            return "what listens there is not the head of a cluster"
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"silence for {_PATIENCE:g} s"
        case grpc.StatusCode.UNAVAILABLE:
            return str(error.details()).rpartition("last error: ")[2]
    return None  # somebody is there, and Ray finds out the rest


def _unreachable(target: str) -> str | None:
    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
    except (OSError, ValueError) as error:
        return str(error)
    return None


def _nobody(address: str, why: str) -> UserError:
    reason = " ".join(why.split())[:200].rstrip(".")
    return UserError(
        f"no Ray cluster answers at {address} ({reason}): name another one in RAY_ADDRESS or with "
        "--address, or neither for a Ray of your own"
    )
