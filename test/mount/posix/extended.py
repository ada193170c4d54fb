"""Extended attributes."""

import os
import stat

from support import *


def check_attributes_are_kept():
    make("f")
    os.mkdir("d")
    for path in ("f", "d"):
        for name, value in (("user.a", b"value"), ("user.empty", b""), ("user.ü", b"\x00\xff"), ("user." + "n" * 250, b"long")):
            os.setxattr(path, name, value)
            expect(os.getxattr(path, name), value)
        expect(sorted(os.listxattr(path)), sorted(["user.a", "user.empty", "user.ü", "user." + "n" * 250]))
        os.removexattr(path, "user.a")
        fails("ENODATA", os.getxattr, path, "user.a")
        fails("ENODATA", os.removexattr, path, "user.a")


def check_create_and_replace():
    make("f")
    fails("ENODATA", os.setxattr, "f", "user.a", b"1", os.XATTR_REPLACE)
    os.setxattr("f", "user.a", b"1", os.XATTR_CREATE)
    fails("EEXIST", os.setxattr, "f", "user.a", b"2", os.XATTR_CREATE)
    os.setxattr("f", "user.a", b"3", os.XATTR_REPLACE)
    expect(os.getxattr("f", "user.a"), b"3")


def check_sizes_of_attributes():
    make("f")
    os.setxattr("f", "user.big", b"x" * 4000)
    buffer = ctypes.create_string_buffer(65536)
    expect(libc.getxattr(b"f", b"user.big", None, 0), 4000)
    expect(libc.getxattr(b"f", b"user.big", buffer, 4000), 4000)
    expect(libc.getxattr(b"f", b"user.big", buffer, 65536), 4000)
    expect((libc.getxattr(b"f", b"user.big", buffer, 3999), ctypes.get_errno()), (-1, errno.ERANGE))
    expect(libc.listxattr(b"f", None, 0), 9)
    expect((libc.listxattr(b"f", buffer, 8), ctypes.get_errno()), (-1, errno.ERANGE))
    fails("E2BIG", os.setxattr, "f", "user.big", b"x" * 65537)
    fails("ERANGE", os.setxattr, "f", "user." + "n" * 251, b"")


def check_the_largest_attribute_has_64_kib():
    make("f")
    os.setxattr("f", "user.big", b"x" * 65536)
    expect(os.getxattr("f", "user.big"), b"x" * 65536)


def check_namespaces():
    make("f")
    os.symlink("f", "l")
    os.mkfifo("p")
    for path in ("l", "p"):
        fails("EPERM", os.setxattr, path, "user.a", b"x", follow_symlinks=False)
    for path in ("f", "l"):
        for name in ("trusted.a", "security.a"):
            os.setxattr(path, name, b"x", follow_symlinks=False)
            expect(os.getxattr(path, name, follow_symlinks=False), b"x")
    expect(sorted(os.listxattr("f")), ["security.a", "trusted.a"])
    os.chown("f", SOME_UID, SOME_GID)
    user_fails("EPERM", os.setxattr, "f", "trusted.b", b"")
    user_fails("ENODATA", os.getxattr, "f", "trusted.a")
    expect(as_user(SOME_UID, SOME_GID, [], lambda: ",".join(os.listxattr("f"))), "security.a")
    for name in ("nothing", "other.name", "system.other"):
        fails("EOPNOTSUPP", os.setxattr, "f", name, b"")
        fails("EOPNOTSUPP", os.getxattr, "f", name)
    for name in ("user.", "trusted.", "security."):
        fails("EINVAL", os.setxattr, "f", name, b"")
    for name in ("", "n" * 256):
        fails("ERANGE", os.setxattr, "f", name, b"")


def check_attributes_need_permission():
    make("f")
    os.setxattr("f", "user.a", b"x")
    user_fails("EACCES", os.setxattr, "f", "user.a", b"y")
    os.chmod("f", 0o600)
    user_fails("EACCES", os.getxattr, "f", "user.a")
    user_fails("ok", os.listxattr, "f")


def check_hard_links_share_attributes():
    make("f")
    os.link("f", "g")
    os.setxattr("f", "user.a", b"x")
    expect(os.getxattr("g", "user.a"), b"x")
    os.unlink("f")
    expect(os.getxattr("g", "user.a"), b"x")
    make("f")
    expect(os.listxattr("f"), [])
