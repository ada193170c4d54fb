"""What tools rely on, tried on a directory of a mount: prints one JSON object, name of the check -> "ok" or what differed.

Run as: driver_checks.py DIRECTORY
"""

import ctypes, errno, hashlib, json, os, stat, subprocess, sys, time

root = sys.argv[1]
libc = ctypes.CDLL(None, use_errno=True)
checks = {}


def check(function):
    checks[function.__name__.replace("_", " ")] = function
    return function


def at(*names):
    return os.path.join(root, *names)


def write(path, data, mode="wb"):
    with open(path, mode) as file:
        file.write(data)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def expect(actual, wanted):
    assert actual == wanted, f"{actual!r} is not {wanted!r}"


def refuses(code, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except OSError as error:
        expect(errno.errorcode[error.errno], errno.errorcode[code])
        return
    raise AssertionError(f"no {errno.errorcode[code]}")


@check
def bytes_read_back_where_they_were_written():
    data = bytes(i % 251 for i in range(3_000_000))
    write(at("whole"), data)
    with open(at("whole"), "r+b") as file:
        file.seek(1_234_567)
        file.write(b"in place")
        file.flush()
        file.seek(1_234_565)
        expect(file.read(12), data[1_234_565:1_234_567] + b"in place" + data[1_234_575:1_234_577])
    expect(len(read(at("whole"))), len(data))


@check
def holes_cuts_and_appends():
    write(at("holes"), b"start")
    os.truncate(at("holes"), 10_000)
    write(at("holes"), b"end", "ab")
    expect(read(at("holes")), b"start" + bytes(9_995) + b"end")
    os.truncate(at("holes"), 3)
    expect(read(at("holes")), b"sta")
    with open(at("holes"), "r+b") as file:
        file.truncate(1)
    expect(os.stat(at("holes")).st_size, 1)


@check
def names_are_renamed_over_and_removed():
    write(at("one"), b"1")
    write(at("two"), b"2")
    os.rename(at("one"), at("two"))
    expect(read(at("two")), b"1")
    refuses(errno.ENOENT, os.stat, at("one"))
    os.mkdir(at("full"))
    write(at("full", "x"), b"x")
    refuses(errno.ENOTEMPTY, os.rmdir, at("full"))
    refuses(errno.ENOTDIR, os.stat, at("two", "x"))
    refuses(errno.EEXIST, os.mkdir, at("full"))
    os.rename(at("full"), at("moved"))
    expect(read(at("moved", "x")), b"x")
    os.unlink(at("moved", "x"))
    os.rmdir(at("moved"))


@check
def names_of_255_bytes_and_no_more():
    write(at("é" * 127 + "x"), b"")
    refuses(errno.ENAMETOOLONG, open, at("é" * 128), "w")


@check
def names_that_are_not_UTF8_are_EILSEQ():
    refuses(errno.EILSEQ, open, os.fsencode(root) + b"/\xff\xfe", "w")


@check
def a_file_that_is_removed_while_open_stays_readable():
    write(at("gone"), b"still here")
    with open(at("gone"), "rb") as file:
        os.unlink(at("gone"))
        refuses(errno.ENOENT, os.stat, at("gone"))
        expect(file.read(), b"still here")


@check
def hard_links_are_one_file():
    write(at("first"), b"shared")
    os.link(at("first"), at("second"))
    a, b = os.stat(at("first")), os.stat(at("second"))
    expect((a.st_ino, a.st_nlink, b.st_nlink), (b.st_ino, 2, 2))
    write(at("second"), b" more", "ab")
    time.sleep(1.1)
    expect(read(at("first")), b"shared more")


@check
def symbolic_links_keep_their_target():
    os.symlink("../some where/ünder", at("symlink"))
    expect(os.readlink(at("symlink")), "../some where/ünder")


@check
def modes_and_owners():
    write(at("owned"), b"")
    os.chmod(at("owned"), 0o640)
    os.chown(at("owned"), 1, 2)
    os.chown(at("owned"), -1, 3)
    found = os.stat(at("owned"))
    expect((stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid), (0o640, 1, 3))


@check
def times_to_the_millisecond():
    write(at("times"), b"")
    os.utime(at("times"), ns=(1_500_000_000_111_000_000, 1_600_000_000_222_000_000))
    found = os.stat(at("times"))
    expect((found.st_atime_ns, found.st_mtime_ns), (1_500_000_000_111_000_000, 1_600_000_000_222_000_000))


@check
def times_to_the_nanosecond():
    write(at("fine"), b"")
    os.utime(at("fine"), ns=(1_500_000_000_111_222_333, 1_600_000_000_444_555_666))
    found = os.stat(at("fine"))
    expect((found.st_atime_ns, found.st_mtime_ns), (1_500_000_000_111_222_333, 1_600_000_000_444_555_666))


@check
def times_before_1970():
    write(at("old"), b"")
    os.utime(at("old"), (-1000, -1000))
    expect(os.stat(at("old")).st_mtime, -1000)


@check
def one_time_alone():
    write(at("alone"), b"")
    os.utime(at("alone"), (1_000_000_000, 1_000_000_000))
    subprocess.run(["touch", "-a", "-d", "@1200000000", at("alone")], check=True)
    found = os.stat(at("alone"))
    expect((found.st_atime, found.st_mtime), (1_200_000_000, 1_000_000_000))


@check
def extended_attributes():
    write(at("xattrs"), b"content")
    os.setxattr(at("xattrs"), "user.a", b"1" * 300)
    os.setxattr(at("xattrs"), "user.b", b"")
    expect((sorted(os.listxattr(at("xattrs"))), os.getxattr(at("xattrs"), "user.a")), (["user.a", "user.b"], b"1" * 300))
    refuses(errno.EEXIST, os.setxattr, at("xattrs"), "user.a", b"", os.XATTR_CREATE)
    refuses(errno.ENODATA, os.setxattr, at("xattrs"), "user.c", b"", os.XATTR_REPLACE)
    os.removexattr(at("xattrs"), "user.b")
    refuses(errno.ENODATA, os.getxattr, at("xattrs"), "user.b")
    expect(os.getxattr(at("xattrs"), "user.casfs.state"), b"staged")


@check
def extended_attributes_that_do_not_fit_are_ERANGE():
    path = os.fsencode(at("xattrs"))
    small = ctypes.create_string_buffer(2)
    for call in (lambda: libc.listxattr(path, small, 2), lambda: libc.getxattr(path, b"user.a", small, 2)):
        expect((call(), errno.errorcode[ctypes.get_errno()]), (-1, "ERANGE"))
    expect(libc.listxattr(path, None, 0), 7)


@check
def a_listing_has_every_name_once():
    os.mkdir(at("many"))
    names = {f"name {number}" for number in range(2500)}
    for name in names:
        os.close(os.open(at("many", name), os.O_CREAT | os.O_WRONLY))
    found = os.listdir(at("many"))
    expect((len(found), set(found) == names), (2500, True))


@check
def fsync_of_files_and_directories():
    with open(at("synced"), "wb") as file:
        file.write(b"x")
        os.fsync(file.fileno())
    directory = os.open(root, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


@check
def df_shows_room():
    found = os.statvfs(root)
    local = os.statvfs("/")
    free, there = found.f_bavail * found.f_frsize, local.f_bavail * local.f_frsize
    assert found.f_namemax == 255 and 0 < free <= there * 1.1, f"{free} of {there}"


@check
def locks_are_kept():
    import fcntl

    with open(at("locked"), "wb") as one:
        fcntl.flock(one, fcntl.LOCK_EX)
        code = f"import fcntl; fcntl.flock(open({at('locked')!r}), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        other = subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
        expect(other.returncode, 1)


@check
def mapped_memory_is_written_back():
    import mmap

    write(at("mapped"), bytes(8192))
    with open(at("mapped"), "r+b") as file, mmap.mmap(file.fileno(), 8192) as memory:
        memory[5000:5005] = b"hello"
        memory.flush()
    expect(read(at("mapped"))[4998:5007], b"\0\0hello\0\0")


@check
def fallocate_extends():
    with open(at("allocated"), "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 5000)
        if libc.fallocate(file.fileno(), 0, ctypes.c_long(0), ctypes.c_long(9000)) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    expect(os.stat(at("allocated")).st_size, 9000)


@check
def names_are_exchanged():
    write(at("left"), b"left")
    write(at("right"), b"right")
    if libc.renameat2(-100, os.fsencode(at("left")), -100, os.fsencode(at("right")), 2) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    expect(read(at("left")), b"right")


results = {}
for name, function in checks.items():
    try:
        function()
        results[name] = "ok"
    except OSError as error:
        results[name] = errno.errorcode.get(error.errno, str(error))
    except AssertionError as error:
        results[name] = str(error)
print(json.dumps(results))
