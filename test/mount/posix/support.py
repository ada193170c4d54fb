"""What the checks share: errnos, other users, and the system calls that Python's os module lacks."""

import ctypes
import errno
import os
import stat
import struct
import time

libc = ctypes.CDLL(None, use_errno=True)

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_SYMLINK_FOLLOW = 0x400
RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
KEEP_SIZE, PUNCH_HOLE, COLLAPSE_RANGE, ZERO_RANGE, INSERT_RANGE = 1, 2, 8, 16, 32
UTIME_NOW, UTIME_OMIT = 0x3FFFFFFF, 0x3FFFFFFE
SOME_UID, SOME_GID, OTHER_UID, OTHER_GID = 65534, 65533, 65532, 65531


def _checked(result):
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def renameat2(old, new, flags):
    call = libc.syscall
    _checked(call(316, AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), ctypes.c_uint(flags)))


def fallocate(fd, mode, offset, length):
    _checked(libc.fallocate64(fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)))


def linkat_fd(fd, path):
    _checked(libc.linkat(fd, b"", AT_FDCWD, os.fsencode(path), AT_EMPTY_PATH))


class Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_int64), ("nanoseconds", ctypes.c_int64)]


def utimensat(path, atime, mtime):
    """Times are (seconds, nanoseconds); UTIME_NOW and UTIME_OMIT are nanoseconds."""
    times = (Timespec * 2)(Timespec(*atime), Timespec(*mtime))
    _checked(libc.utimensat(AT_FDCWD, os.fsencode(path), times, 0))


def birth_time(path):
    """st_btime in nanoseconds by statx(2); None when the file system has none."""
    buffer = ctypes.create_string_buffer(256)
    _checked(libc.statx(AT_FDCWD, os.fsencode(path), 0, 0x800, buffer))
    mask = struct.unpack_from("<I", buffer, 0)[0]
    seconds, nanoseconds = struct.unpack_from("<qI", buffer, 80)
    return seconds * 10**9 + nanoseconds if mask & 0x800 else None


def mknod(path, mode, device=0):
    os.mknod(path, mode, device)


def errno_name(code):
    # On Linux ENOTSUP is another word for EOPNOTSUPP.
    return "EOPNOTSUPP" if code == errno.EOPNOTSUPP else errno.errorcode.get(code, str(code))


def outcome(call, *arguments, **named):
    """The name of the errno, or "ok"."""
    try:
        call(*arguments, **named)
        return "ok"
    except OSError as error:
        return errno_name(error.errno)


def expect(actual, wanted, what=""):
    if actual != wanted:
        raise AssertionError(f"{what}: {actual!r} instead of {wanted!r}" if what else f"{actual!r} instead of {wanted!r}")


def fails(wanted, call, *arguments, **named):
    expect(outcome(call, *arguments, **named), wanted, f"{getattr(call, '__name__', call)}{arguments!r}"[:200])


def as_user(uid, gid, groups, work):
    """Runs `work` in a child with another identity; returns what it returns (a short string) or raises what it asserts."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(groups)
            os.setgid(gid)
            os.setuid(uid)
            said = "=" + str(work())
        except AssertionError as error:
            said = "!" + str(error)
        except OSError as error:
            said = "=" + errno_name(error.errno)
        except BaseException as error:
            said = "!" + repr(error)
        os.write(writing, said.encode()[:4000])
        os._exit(0)
    os.close(writing)
    said = b""
    while piece := os.read(reading, 4096):
        said += piece
    os.close(reading)
    os.waitpid(child, 0)
    text = said.decode()
    if not text.startswith("="):
        raise AssertionError(f"as {uid}: {text[1:]}")
    return text[1:]


def user_fails(wanted, call, *arguments, uid=SOME_UID, gid=SOME_GID, groups=()):
    expect(as_user(uid, gid, list(groups), lambda: outcome(call, *arguments)), wanted, f"as {uid} {call.__name__}{arguments!r}"[:200])


def make(path, data=b"", mode=0o644):
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, mode)
    try:
        os.fchmod(fd, mode)
        view = memoryview(data)
        while len(view):
            view = view[os.write(fd, view):]
    finally:
        os.close(fd)
    return path


def contents(path):
    with open(path, "rb") as file:
        return file.read()


def mode_of(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def times(path):
    found = os.lstat(path)
    return {"a": found.st_atime_ns, "m": found.st_mtime_ns, "c": found.st_ctime_ns}


def tick():
    """Longer than the granularity of any clock that stamps files."""
    time.sleep(0.012)


def changed(work, *paths):
    """Which of the times of `paths` `work` moves forward, such as ["mc", "c"]."""
    before = [times(path) for path in paths]
    tick()
    work()
    found = []
    for path, old in zip(paths, before):
        new = times(path)
        for which in "amc":
            if new[which] < old[which]:
                raise AssertionError(f"{which}time of {path} went back")
        found.append("".join(which for which in "amc" if new[which] > old[which]))
    return found
