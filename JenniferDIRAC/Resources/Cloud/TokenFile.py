"""A refresh token on disk: read, held by one process at a time, and replaced without ever being lost.

An issuer that rotates takes each refresh token once and answers with its successor. Whoever loses that, or uses a token
that another process has used already, is locked out until a person gets a new one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from JenniferDIRAC.Resources.Cloud.SafeHTTP import LoginImpossible, LoginRefused
from JenniferDIRAC.Resources.Cloud.Secret import Secret

_MAX_BYTES = 1 << 16
#: seconds; a holder may be waiting for up to three requests, of 10 + 60 s each
_PATIENCE = 240


class TokenFileError(LoginRefused):
    """There is no token to be had from the file, or no way to keep the next one. Holds no token."""


def state_file(issuer: str, client_id: str, token: Secret) -> Path:
    """Where the successors of a token are kept that stands in clouds.yaml, secure.yaml or the environment."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    name = hashlib.sha256("\0".join((issuer, client_id, token.reveal())).encode()).hexdigest()[:32]
    return Path(base) / "jenniferdirac/tokens" / name


def check_token(text: str, where: str) -> Secret:
    """A token without the white space around it.

    :raises TokenFileError: that is no token
    """
    token = text.strip()
    if not token:
        raise TokenFileError(f"{where} is empty; expected a refresh token")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise TokenFileError(f"{where} is no refresh token; expected one line without spaces, and nothing else")
    return Secret(token)


class HeldToken:
    """A token that nobody else uses meanwhile, with room on the disk for its successor."""

    def __init__(self, value: Secret, path: Path, spare: int, spare_path: Path):
        self.value = value
        self._path, self._spare, self._spare_path = path, spare, spare_path

    def replace(self, token: Secret) -> None:
        """Keep the successor: on disk, whole, before this returns.

        :raises TokenFileError: it could not be kept
        """
        checked = check_token(token.reveal(), "the issuer's next refresh token")
        data = checked.reveal().encode() + b"\n"
        try:
            os.pwrite(self._spare, data, 0)
            os.ftruncate(self._spare, len(data))
            os.fsync(self._spare)
            os.replace(self._spare_path, self._path)
            _sync_directory(self._path.parent)
        except OSError as error:
            raise TokenFileError(f"the issuer's next refresh token cannot be kept in {self._path}: {error}") from None
        self.value = checked


class TokenFile:
    """The refresh token of one client at one issuer.

    :param path: the file, readable by its owner only
    :param first: the token as long as there is no such file; without it the file has to be there
    """

    def __init__(self, path: Path, first: Secret | None = None, sleep: Callable[[float], None] = time.sleep):
        self.path = path.resolve()  # a symbolic link stays one
        self._first = first
        self._sleep = sleep

    def read(self) -> Secret:
        """The token that is valid now, unless somebody is replacing it.

        :raises TokenFileError: there is none
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            if self._first:
                return self._first
            raise TokenFileError(
                f"refresh_token_file {self.path} does not exist; write the refresh token into it and chmod 600 it"
            ) from None
        except OSError as error:
            raise self._error("cannot be read", error) from None
        try:
            self._check_mode(os.fstat(descriptor).st_mode)
            data = os.read(descriptor, _MAX_BYTES)
        except OSError as error:
            raise self._error("cannot be read", error) from None
        finally:
            os.close(descriptor)
        return check_token(data.decode("ascii", "replace"), f"refresh_token_file {self.path}")

    @contextmanager
    def hold(self) -> Iterator[HeldToken]:
        """The token, used by nobody else until the end of the block.

        :raises TokenFileError: there is none, or its successor could not be kept: known before the token is used
        """
        if self._first:
            self._make_state_directory()
        else:
            self.read()  # what is wrong with the file itself is better told before what is wrong around it
        with self._locked():
            token = self.read()
            spare_path = self.path.with_name(f".{self.path.name}.new")
            spare = self._make_spare(spare_path)
            try:
                yield HeldToken(token, self.path, spare, spare_path)
            finally:
                os.close(spare)
                spare_path.unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # A file of its own: the token's is another one after each rotation.
        path = self.path.with_name(f".{self.path.name}.lock")
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise self._error("cannot be locked; its directory has to be writable, for the next token", error) from None
        try:
            self._give_to_owner(lock)
            self._wait_for(lock)
            yield
        finally:
            os.close(lock)

    def _wait_for(self, lock: int) -> None:
        for _ in range(_PATIENCE * 10):
            try:
                return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._sleep(0.1)
        raise LoginImpossible(f"refresh token {self.path} has been held by another process for {_PATIENCE} s")

    def _make_spare(self, path: Path) -> int:
        try:
            path.unlink(missing_ok=True)  # of a process that was killed
            spare = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._error("has no room beside it for the next token", error) from None
        try:
            os.posix_fallocate(spare, 0, _MAX_BYTES)
            self._give_to_owner(spare)
        except OSError as error:
            os.close(spare)
            path.unlink(missing_ok=True)
            raise self._error("has no room beside it for the next token", error) from None
        return spare

    def _give_to_owner(self, descriptor: int) -> None:
        """What root makes here has to stay usable for the account whose token it is."""
        if os.geteuid() == 0:
            with suppress(FileNotFoundError):
                owner = os.stat(self.path)
                os.fchown(descriptor, owner.st_uid, owner.st_gid)

    def _make_state_directory(self) -> None:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise TokenFileError(
                f"{self.path.parent} cannot be made ({error.strerror}), and the issuer's next refresh token is to be "
                "kept there; set XDG_STATE_HOME, or use refresh_token_file instead of refresh_token"
            ) from None

    def _check_mode(self, mode: int) -> None:
        if not stat.S_ISREG(mode):
            raise TokenFileError(f"refresh_token_file {self.path} is no file")
        if mode & 0o077:
            raise TokenFileError(
                f"refresh_token_file {self.path} has mode {mode & 0o777:03o}: others of this machine may use what it "
                f"allows. Expected 600; chmod 600 {self.path}"
            )

    def _error(self, what: str, error: OSError) -> TokenFileError:
        return TokenFileError(f"refresh_token_file {self.path} {what}: {error.strerror}")


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
