"""Names: their lengths and bytes, making, linking, moving and removing them."""

import os
import stat
import threading

from support import *

KINDS = {
    "file": lambda path: make(path),
    "directory": os.mkdir,
    "symlink": lambda path: os.symlink("nowhere", path),
    "fifo": os.mkfifo,
    "socket": lambda path: mknod(path, stat.S_IFSOCK | 0o600),
    "block device": lambda path: mknod(path, stat.S_IFBLK | 0o600, os.makedev(1, 2)),
    "character device": lambda path: mknod(path, stat.S_IFCHR | 0o600, os.makedev(3, 4)),
}
MAKERS = {
    "open": lambda path: os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)),
    "mkdir": os.mkdir,
    "symlink": lambda path: os.symlink("target", path),
    "mkfifo": os.mkfifo,
    "mknod": lambda path: mknod(path, stat.S_IFREG | 0o600),
    "link": lambda path: os.link("present", path),
}
REMOVERS = {"unlink": os.unlink, "rmdir": os.rmdir}
LOOKERS = {
    "stat": os.stat,
    "chmod": lambda path: os.chmod(path, 0o600),
    "chown": lambda path: os.chown(path, 1, 1),
    "truncate": lambda path: os.truncate(path, 1),
    "utime": lambda path: os.utime(path),
    "readlink": os.readlink,
    "open": lambda path: os.close(os.open(path, os.O_RDONLY)),
    "setxattr": lambda path: os.setxattr(path, "user.a", b""),
}


def check_names_have_up_to_255_bytes():
    make("present")
    for letter, count in (("n", 255), ("ü", 127), ("文", 85)):
        longest = letter * count
        for maker in MAKERS.values():
            maker(longest)
            os.lstat(longest)
            (os.rmdir if stat.S_ISDIR(os.lstat(longest).st_mode) else os.unlink)(longest)
        too_long = longest + "nn"[: 256 - len(longest.encode())]
        for maker in MAKERS.values():
            fails("ENAMETOOLONG", maker, too_long)
        for looker in LOOKERS.values():
            fails("ENAMETOOLONG", looker, too_long)
        for remover in REMOVERS.values():
            fails("ENAMETOOLONG", remover, too_long)
        fails("ENAMETOOLONG", os.rename, "present", too_long)
        fails("ENAMETOOLONG", os.rename, too_long, "other")


def check_paths_have_up_to_4095_bytes():
    os.makedirs("d" * 200)
    path = "d" * 200 + "/." * 1947
    expect(len(path), 4094)
    os.stat(path)
    fails("ENAMETOOLONG", os.stat, path + "/.")


def check_names_that_are_not_utf8_are_eilseq():
    make("present")
    bad = b"bad\xff\xfename"
    fails("EILSEQ", os.mkdir, bad)
    fails("EILSEQ", os.open, bad, os.O_CREAT | os.O_WRONLY)
    fails("EILSEQ", os.rename, b"present", bad)
    fails("ENOENT", os.stat, bad)
    fails("ENOENT", os.unlink, bad)


def check_any_other_byte_may_be_in_a_name():
    names = ["a\nb", "tab\t", "\x01\x7f", "a\\b", "*?[", " ", "-rf", "'\"", "\u00e9", "e\u0301", "\U0001f600", "con:"]
    for name in names:
        make(name, name.encode())
    expect(sorted(os.listdir(".")), sorted(names))
    for name in os.listdir("."):
        expect(contents(name), name.encode())


def check_a_path_through_a_file_is_enotdir():
    make("file")
    for looker in LOOKERS.values():
        fails("ENOTDIR", looker, "file/x")
    for maker in MAKERS.values():
        fails("ENOTDIR" if maker is not MAKERS["link"] else "ENOENT", maker, "file/x")
    make("present")
    fails("ENOTDIR", os.link, "present", "file/x")
    fails("ENOTDIR", os.rename, "present", "file/x")
    fails("ENOTDIR", os.rename, "file/x", "present")


def check_a_missing_name_or_directory_is_enoent():
    make("present")
    for looker in LOOKERS.values():
        fails("ENOENT", looker, "missing")
        fails("ENOENT", looker, "missing/x")
    for maker in MAKERS.values():
        fails("ENOENT", maker, "missing/x")
    for remover in REMOVERS.values():
        fails("ENOENT", remover, "missing")
    fails("ENOENT", os.rename, "missing", "other")
    fails("ENOENT", os.rename, "present", "missing/x")


def check_a_name_that_exists_is_eexist():
    make("present")
    for kind, maker in KINDS.items():
        maker(kind)
        for made in MAKERS.values():
            fails("EEXIST", made, kind)


def check_too_many_symlinks_are_eloop():
    os.symlink("b", "a")
    os.symlink("a", "b")
    for looker in LOOKERS.values():
        if looker is not os.readlink:
            fails("ELOOP", looker, "a")
        fails("ELOOP", looker, "a/x")
    make("f0")
    for index in range(1, 42):
        os.symlink(f"f{index - 1}", f"f{index}")
    os.stat("f40")
    fails("ELOOP", os.stat, "f41")


def check_a_symlink_keeps_its_target():
    for target in ("x", "a/b/../c", "t" * 4095, "ü文😀", "/", "//a//", " "):
        os.symlink(target, "link")
        expect(os.readlink("link"), target)
        expect(os.lstat("link").st_size, len(target.encode()))
        expect(stat.S_IMODE(os.lstat("link").st_mode), 0o777)
        os.unlink("link")
    fails("ENAMETOOLONG", os.symlink, "t" * 4096, "link")
    fails("ENOENT", os.symlink, "", "link")
    make("file")
    fails("EINVAL", os.readlink, "file")


def check_hard_links_share_an_inode():
    for kind in ("file", "symlink", "fifo", "socket", "block device", "character device"):
        KINDS[kind](kind)
        os.link(kind, kind + "2", follow_symlinks=False)
        one, two = os.lstat(kind), os.lstat(kind + "2")
        expect((one.st_ino, one.st_nlink, one.st_mode), (two.st_ino, 2, two.st_mode))
        os.unlink(kind)
        expect(os.lstat(kind + "2").st_nlink, 1)
    os.mkdir("directory")
    fails("EPERM", os.link, "directory", "directory2")
    fails("ENOENT", os.link, "missing", "x")


def check_linkat_follows_symlinks_when_asked():
    make("file", b"x")
    os.symlink("file", "link")
    libc.linkat(AT_FDCWD, b"link", AT_FDCWD, b"followed", AT_SYMLINK_FOLLOW)
    expect(os.lstat("followed").st_ino, os.stat("file").st_ino)


def check_unlink_and_rmdir_refuse_the_other_kind():
    os.mkdir("directory")
    fails("EISDIR", os.unlink, "directory")
    for kind, maker in KINDS.items():
        if kind == "directory":
            continue
        maker(kind)
        fails("ENOTDIR", os.rmdir, kind)
        os.unlink(kind)
        fails("ENOENT", os.lstat, kind)


def check_rmdir_refuses_what_is_not_empty_and_dots():
    os.makedirs("a/b")
    fails("ENOTEMPTY", os.rmdir, "a")
    fails("EINVAL", os.rmdir, "a/b/.")
    fails("ENOTEMPTY", os.rmdir, "a/b/..")
    os.rmdir("a/b")
    os.rmdir("a")


def check_links_of_a_directory_count_its_subdirectories():
    os.mkdir("d")
    expect(os.stat("d").st_nlink, 2)
    os.mkdir("d/1")
    os.mkdir("d/2")
    make("d/file")
    expect(os.stat("d").st_nlink, 4)
    os.mkdir("e")
    os.rename("d/1", "e/1")
    expect((os.stat("d").st_nlink, os.stat("e").st_nlink), (3, 3))
    os.mkdir("d/1")
    os.rename("e/1", "d/1")
    expect((os.stat("d").st_nlink, os.stat("e").st_nlink), (4, 2))
    os.rmdir("d/2")
    expect(os.stat("d").st_nlink, 3)
    os.mkdir("e/x")
    make("e/y")
    renameat2("e/y", "d/1", RENAME_EXCHANGE)
    expect((os.stat("d").st_nlink, os.stat("e").st_nlink), (2, 4))


def check_rename_replaces_as_posix_says():
    for kind, maker in KINDS.items():
        if kind == "directory":
            continue
        maker("old")
        before = os.lstat("old")
        os.rename("old", "new")
        expect((os.lstat("new").st_ino, os.lstat("new").st_mode), (before.st_ino, before.st_mode))
        for other, other_maker in KINDS.items():
            if other == "directory":
                continue
            other_maker("present")
            os.rename("new", "present")
            expect(os.lstat("present").st_ino, before.st_ino)
            fails("ENOENT", os.lstat, "new")
            os.rename("present", "new")
        os.mkdir("directory")
        fails("EISDIR", os.rename, "new", "directory")
        fails("ENOTDIR", os.rename, "directory", "new")
        os.rmdir("directory")
        os.unlink("new")


def check_rename_of_directories():
    os.makedirs("a/b/c")
    os.mkdir("empty")
    os.makedirs("full/x")
    fails("ENOTEMPTY", os.rename, "a", "full")
    fails("EINVAL", os.rename, "a", "a/b/d")
    fails("EINVAL", os.rename, "a", "a/b/c/d")
    fails("ENOTEMPTY", os.rename, "a/b", "a")
    os.rename("a", "empty")
    expect(os.listdir("empty"), ["b"])
    os.rename("empty", "empty")
    for dots in ("empty/.", "empty/.."):
        if outcome(os.rename, dots, "z") not in ("EBUSY", "EINVAL"):
            raise AssertionError(dots)
    os.rename("empty/b/c", "c")
    expect(os.stat("c/..").st_ino, os.stat(".").st_ino)


def check_rename_onto_another_name_of_the_same_file_does_nothing():
    make("one", b"x")
    os.link("one", "two")
    os.rename("one", "two")
    expect((os.stat("one").st_nlink, os.stat("two").st_nlink), (2, 2))


def check_renameat2_flags():
    make("a", b"a")
    make("b", b"b")
    fails("EEXIST", renameat2, "a", "b", RENAME_NOREPLACE)
    renameat2("a", "c", RENAME_NOREPLACE)
    renameat2("c", "b", RENAME_EXCHANGE)
    expect((contents("c"), contents("b")), (b"b", b"a"))
    fails("ENOENT", renameat2, "c", "missing", RENAME_EXCHANGE)
    fails("EINVAL", renameat2, "c", "b", RENAME_NOREPLACE | RENAME_EXCHANGE)
    os.makedirs("d/e")
    renameat2("d", "b", RENAME_EXCHANGE)
    expect((contents("d"), os.listdir("b")), (b"a", ["e"]))
    fails("EINVAL", renameat2, "b", "b/e", RENAME_EXCHANGE)


def check_an_open_file_outlives_its_name():
    fd = os.open("f", os.O_CREAT | os.O_RDWR, 0o600)
    os.write(fd, b"before")
    os.unlink("f")
    expect(os.fstat(fd).st_nlink, 0)
    os.write(fd, b" after")
    expect(os.pread(fd, 100, 0), b"before after")
    os.ftruncate(fd, 3)
    os.fchmod(fd, 0o640)
    expect((os.fstat(fd).st_size, stat.S_IMODE(os.fstat(fd).st_mode)), (3, 0o640))
    make("f", b"new")
    expect((os.pread(fd, 100, 0), contents("f")), (b"bef", b"new"))
    os.close(fd)
    one, two = make("one", b"1"), make("two", b"2")
    fd = os.open(two, os.O_RDWR)
    os.rename(one, two)
    expect((os.pread(fd, 9, 0), os.fstat(fd).st_nlink, contents("two")), (b"2", 0, b"1"))
    os.close(fd)


def check_a_removed_directory_is_empty_and_takes_nothing():
    os.mkdir("d")
    fd = os.open("d", os.O_RDONLY | os.O_DIRECTORY)
    os.rmdir("d")
    expect(os.fstat(fd).st_nlink, 0)
    expect(os.listdir(fd), [])
    fails("ENOENT", os.open, "x", os.O_CREAT | os.O_WRONLY, dir_fd=fd)
    fails("ENOENT", os.mkdir, "x", dir_fd=fd)
    os.close(fd)


def check_the_working_directory_follows_renames():
    os.makedirs("a/b")
    top = os.getcwd()
    os.chdir("a/b")
    try:
        os.rename(top + "/a", top + "/z")
        expect(os.getcwd(), top + "/z/b")
        os.rmdir(top + "/z/b")
        fails("ENOENT", os.getcwd)
    finally:
        os.chdir(top)


def check_a_listing_has_each_name_once():
    names = {f"file-{index}-{'x' * 100}" for index in range(600)}
    for name in names:
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
    found = os.listdir(".")
    expect(sorted(found), sorted(names))
    for index in range(0, 600, 2):
        os.unlink(f"file-{index}-{'x' * 100}")
    expect(len(os.listdir(".")), 300)


def check_a_listing_meanwhile_shows_what_stays():
    stay = {f"stay-{index}" for index in range(400)}
    for name in stay:
        make(name)
    stop = threading.Event()

    def storm():
        turn = 0
        while not stop.is_set():
            turn += 1
            make(f"come-{turn}")
            os.unlink(f"come-{turn}")

    thread = threading.Thread(target=storm)
    thread.start()
    try:
        for _ in range(10):
            found = [name for name in os.listdir(".") if name.startswith("stay")]
            expect(len(found), len(set(found)), "twice")
            expect(set(found), stay)
    finally:
        stop.set()
        thread.join()


class Dirent(ctypes.Structure):
    _fields_ = [("ino", ctypes.c_uint64), ("off", ctypes.c_int64), ("reclen", ctypes.c_uint16), ("type", ctypes.c_uint8), ("name", ctypes.c_char * 256)]


def read_directory(handle):
    libc.readdir.restype = ctypes.POINTER(Dirent)
    while entry := libc.readdir(handle):
        yield entry.contents


def opened_directory(path):
    libc.opendir.restype = ctypes.c_void_p
    return ctypes.c_void_p(libc.opendir(os.fsencode(path)))


def check_telldir_and_seekdir_go_back():
    for index in range(300):
        make(f"n{index}")
    handle = opened_directory(".")
    libc.telldir.restype = ctypes.c_long
    places, names = [], []
    for _ in range(302):
        places.append(libc.telldir(handle))
        names.append(next(read_directory(handle)).name)
    for index in (300, 5, 150, 0):
        libc.seekdir(handle, ctypes.c_long(places[index]))
        expect(next(read_directory(handle)).name, names[index])
    libc.rewinddir(handle)
    expect(sum(1 for _ in read_directory(handle)), 302)
    libc.closedir(handle)


def check_a_listing_says_the_kind_and_inode_of_each_entry():
    for kind, maker in KINDS.items():
        maker(kind)
    handle = opened_directory(".")
    for entry in list(read_directory(handle)):
        name = entry.name.decode()
        if name == "..":
            continue
        found = os.lstat(name)
        expect((entry.ino, entry.type), (found.st_ino, stat.S_IFMT(found.st_mode) >> 12), name)
    libc.closedir(handle)


def check_inode_numbers_stay():
    make("f")
    os.mkdir("d")
    before = [os.stat(path).st_ino for path in ("f", "d")]
    os.rename("f", "d/g")
    os.chmod("d/g", 0o600)
    with open("d/g", "wb") as file:
        file.write(b"x" * 100_000)
    expect([os.stat("d/g").st_ino, os.stat("d").st_ino], before)


def check_special_files_work():
    os.mkfifo("fifo")
    child = os.fork()
    if child == 0:
        fd = os.open("fifo", os.O_WRONLY)
        os.write(fd, b"through")
        os._exit(0)
    fd = os.open("fifo", os.O_RDONLY)
    expect(os.read(fd, 100), b"through")
    os.close(fd)
    os.waitpid(child, 0)
    fails("ENXIO", os.open, "fifo", os.O_WRONLY | os.O_NONBLOCK)
    import socket
    server = socket.socket(socket.AF_UNIX)
    server.bind("s")
    server.listen(1)
    client = socket.socket(socket.AF_UNIX)
    client.connect("s")
    client.send(b"hello")
    expect(server.accept()[0].recv(5), b"hello")
    fails("ENXIO", os.open, "s", os.O_RDONLY)
    mknod("c", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    expect((os.stat("c").st_rdev, stat.S_ISCHR(os.stat("c").st_mode)), (os.makedev(1, 3), True))
    mknod("big", stat.S_IFBLK | 0o600, os.makedev(4095, 1048575))
    expect(os.stat("big").st_rdev, os.makedev(4095, 1048575))


def check_file_handles_find_their_file():
    class Handle(ctypes.Structure):
        _fields_ = [("bytes", ctypes.c_uint), ("type", ctypes.c_int), ("handle", ctypes.c_char * 128)]

    make("f", b"by handle")
    os.makedirs("d/e")
    for path in ("f", "d/e"):
        handle, mount_id = Handle(bytes=128), ctypes.c_int()
        if libc.name_to_handle_at(AT_FDCWD, os.fsencode(path), ctypes.byref(handle), ctypes.byref(mount_id), 0) != 0:
            raise OSError(ctypes.get_errno(), "name_to_handle_at")
        # The kernel forgets the inode, and has to ask for it by its number.
        with open("/proc/sys/vm/drop_caches", "w") as caches:
            caches.write("2")
        top = os.open(".", os.O_RDONLY)
        fd = libc.open_by_handle_at(top, ctypes.byref(handle), os.O_RDONLY)
        if fd < 0:
            raise OSError(ctypes.get_errno(), "open_by_handle_at")
        expect(os.fstat(fd).st_ino, os.stat(path).st_ino)
        os.close(fd)
        os.close(top)


def check_o_path_and_o_nofollow():
    make("f", b"x")
    os.symlink("f", "l")
    O_PATH = 0o10000000
    fd = os.open("l", O_PATH | os.O_NOFOLLOW)
    expect(stat.S_ISLNK(os.fstat(fd).st_mode), True)
    os.close(fd)
    fd = os.open("f", O_PATH)
    fails("EBADF", os.read, fd, 1)
    expect(contents(f"/proc/self/fd/{fd}"), b"x")
    os.close(fd)
    fails("ELOOP", os.open, "l", os.O_RDONLY | os.O_NOFOLLOW)
    fails("ENOTDIR", os.open, "f", os.O_RDONLY | os.O_DIRECTORY)
