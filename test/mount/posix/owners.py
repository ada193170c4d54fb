"""Who may do what: permissions of several users, set-id bits, sticky directories, owners."""

import os
import stat

from support import *

SUID, SGID, STICKY = 0o4000, 0o2000, 0o1000


def owned(path, uid=SOME_UID, gid=SOME_GID, mode=0o644, data=b"data"):
    make(path, data)
    os.chown(path, uid, gid)
    os.chmod(path, mode)
    return path


def directory(path, uid=SOME_UID, gid=SOME_GID, mode=0o755):
    os.mkdir(path)
    os.chown(path, uid, gid)
    os.chmod(path, mode)
    return path


def opens(path, flags):
    os.close(os.open(path, flags))


def check_permission_bits_of_owner_group_and_others():
    for bits, reads, writes in ((0, "EACCES", "EACCES"), (4, "ok", "EACCES"), (2, "EACCES", "ok"), (6, "ok", "ok")):
        for shift, (uid, gid) in ((6, (SOME_UID, OTHER_GID)), (3, (OTHER_UID, SOME_GID)), (0, (OTHER_UID, OTHER_GID))):
            path = owned("f", mode=bits << shift)
            user_fails(reads, opens, path, os.O_RDONLY, uid=uid, gid=gid)
            user_fails(writes, opens, path, os.O_WRONLY, uid=uid, gid=gid)
            user_fails(writes, os.truncate, path, 1, uid=uid, gid=gid)
            os.unlink(path)
    path = owned("f", mode=0o060)
    user_fails("ok", opens, path, os.O_RDWR, uid=OTHER_UID, gid=OTHER_GID, groups=[SOME_GID])
    user_fails("EACCES", opens, path, os.O_RDWR)


def check_directories_need_search_and_write_permission():
    directory("d")
    owned("d/f", mode=0o666)
    user_fails("ok", opens, "d/f", os.O_RDONLY, uid=OTHER_UID, gid=OTHER_GID)
    for change in (
        lambda: os.mkdir("d/x"), lambda: os.unlink("d/f"), lambda: os.rename("d/f", "d/g"),
        lambda: os.symlink("a", "d/s"), lambda: os.link("d/f", "d/l"), lambda: os.mkfifo("d/p"),
        lambda: opens("d/new", os.O_CREAT | os.O_WRONLY),
    ):
        user_fails("EACCES", change, uid=OTHER_UID, gid=OTHER_GID)
    os.chmod("d", 0o644)
    for look in (lambda: os.stat("d/f"), lambda: opens("d/f", os.O_RDONLY), lambda: os.chmod("d/f", 0)):
        user_fails("EACCES", look)
    user_fails("ok", os.listdir, "d")
    os.chmod("d", 0o311)
    user_fails("EACCES", os.listdir, "d")
    user_fails("ok", os.stat, "d/f")


def check_chmod_is_for_the_owner():
    owned("f")
    user_fails("EPERM", os.chmod, "f", 0o777, uid=OTHER_UID, gid=OTHER_GID)
    user_fails("ok", os.chmod, "f", 0o600)
    expect(mode_of("f"), 0o600)
    for mode in (0o0, 0o777, 0o4755, 0o1777, 0o7777):
        os.chmod("f", mode)
        expect(mode_of("f"), mode)
    directory("d")
    for mode in (0o0, 0o777, 0o4755, 0o2755, 0o1777, 0o7777):
        os.chmod("d", mode)
        expect(mode_of("d"), mode)


def check_chmod_of_a_foreign_group_drops_set_group_id():
    owned("f", gid=OTHER_GID)
    user_fails("ok", os.chmod, "f", SGID | 0o755)
    expect(mode_of("f"), 0o755)
    owned("g")
    user_fails("ok", os.chmod, "g", SGID | 0o755)
    expect(mode_of("g"), SGID | 0o755)


def check_chown_is_for_root_and_groups_of_the_owner():
    owned("f")
    user_fails("EPERM", os.chown, "f", OTHER_UID, -1)
    user_fails("EPERM", os.chown, "f", -1, OTHER_GID)
    user_fails("ok", os.chown, "f", -1, OTHER_GID, groups=[OTHER_GID])
    expect((os.stat("f").st_uid, os.stat("f").st_gid), (SOME_UID, OTHER_GID))
    user_fails("EPERM", os.chown, "f", -1, OTHER_GID, uid=OTHER_UID, gid=OTHER_GID)
    user_fails("ok", os.chown, "f", SOME_UID, -1)
    os.chown("f", 2**32 - 2, 2**31)
    expect((os.stat("f").st_uid, os.stat("f").st_gid), (2**32 - 2, 2**31))
    os.symlink("f", "l")
    os.lchown("l", 7, 8)
    expect((os.lstat("l").st_uid, os.stat("f").st_uid), (7, 2**32 - 2))


def check_chown_drops_set_id_bits_of_files_only():
    owned("f")
    for mode, left in ((0o6755, 0o755), (0o4644, 0o644), (0o6777, 0o777)):
        os.chmod("f", mode)
        os.chown("f", 5, 6)
        expect(mode_of("f"), left, oct(mode))
        os.chown("f", SOME_UID, SOME_GID)
        os.chmod("f", mode)
        user_fails("ok", os.chown, "f", SOME_UID, SOME_GID)
        expect(mode_of("f"), left, oct(mode))
    directory("d", mode=0o6755)
    os.chown("d", 5, 6)
    expect(mode_of("d"), 0o6755)


def check_a_chown_that_changes_nothing_drops_set_id_bits_too():
    owned("f", mode=0o6755)
    os.chown("f", -1, -1)
    expect(mode_of("f"), 0o755)
    os.chmod("f", 0o6755)
    user_fails("ok", os.chown, "f", -1, -1)
    expect(mode_of("f"), 0o755)
    os.chmod("f", 0o6755)
    as_user(OTHER_UID, OTHER_GID, [], lambda: outcome(os.chown, "f", -1, -1))
    expect(mode_of("f"), 0o6755, "not by a stranger")


def check_writing_and_cutting_drops_set_id_bits():
    def append(path):
        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.write(fd, b"more")
        os.close(fd)

    def at(path):
        fd = os.open(path, os.O_RDWR)
        os.pwrite(fd, b"x", 1)
        os.close(fd)

    def cut(path):
        fd = os.open(path, os.O_WRONLY)
        os.ftruncate(fd, 2)
        os.close(fd)

    def allocate(path):
        fd = os.open(path, os.O_WRONLY)
        os.posix_fallocate(fd, 0, 100)
        os.close(fd)

    def copy(path):
        source, fd = os.open("source", os.O_RDONLY), os.open(path, os.O_WRONLY)
        expect(os.copy_file_range(source, fd, 6, 0, 0), 6)
        os.close(source)
        os.close(fd)

    def empty(path):
        opens(path, os.O_WRONLY | os.O_TRUNC)

    make("source", b"source")
    for change in (append, at, cut, allocate, copy, empty, lambda path: os.truncate(path, 1)):
        path = owned("f", mode=0o777)
        os.chmod(path, 0o6777)
        user_fails("ok", change, path, uid=OTHER_UID, gid=OTHER_GID)
        expect(mode_of(path), 0o777, change.__name__)
        os.chmod(path, 0o6777)
        change(path)
        expect(mode_of(path), 0o6777, f"root {change.__name__}")
        os.unlink(path)


def check_a_set_group_id_directory_gives_its_group():
    directory("d", uid=0, gid=OTHER_GID, mode=0o2777)

    def work():
        os.umask(0)
        make("d/f", mode=0o644)
        os.mkdir("d/d", 0o755)
        os.symlink("x", "d/s")
        os.mkfifo("d/p", 0o644)
        return "done"

    expect(as_user(SOME_UID, SOME_GID, [], work), "done")
    for name in "fdsp":
        expect((os.lstat("d/" + name).st_uid, os.lstat("d/" + name).st_gid), (SOME_UID, OTHER_GID), name)
    expect(mode_of("d/d"), 0o2755)
    directory("plain", mode=0o777)
    expect(as_user(OTHER_UID, OTHER_GID, [], lambda: make("plain/f") and "done"), "done")
    expect(os.stat("plain/f").st_gid, OTHER_GID)


def check_a_file_with_set_group_id_is_not_made_by_strangers():
    directory("d", uid=0, gid=OTHER_GID, mode=0o2777)

    def work():
        os.umask(0)
        os.close(os.open("d/f", os.O_CREAT | os.O_WRONLY, 0o2755))
        return oct(mode_of("d/f"))

    expect(as_user(SOME_UID, SOME_GID, [], work), "0o755")


def check_sticky_directories_protect_names():
    directory("d", uid=0, gid=0, mode=0o1777)
    owned("d/f")
    directory("d/e")
    for change in (
        lambda: os.unlink("d/f"), lambda: os.rename("d/f", "d/g"), lambda: os.rmdir("d/e"),
        lambda: os.rename("d/e", "d/h"), lambda: (make("d/mine" + str(os.getpid())), os.rename("d/mine" + str(os.getpid()), "d/f")),
    ):
        user_fails("EPERM", change, uid=OTHER_UID, gid=OTHER_GID)
    user_fails("ok", os.rename, "d/f", "d/g")
    user_fails("ok", os.unlink, "d/g")
    user_fails("ok", os.rmdir, "d/e")
    os.chown("d", OTHER_UID, OTHER_GID)
    owned("d/f")
    user_fails("ok", os.unlink, "d/f", uid=OTHER_UID, gid=OTHER_GID)


def check_the_umask_holds():
    before = os.umask(0o027)
    try:
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, 0o666))
        os.mkdir("d", 0o777)
        os.mkfifo("p", 0o666)
        expect((mode_of("f"), mode_of("d"), mode_of("p")), (0o640, 0o750, 0o640))
    finally:
        os.umask(before)


def check_a_new_file_is_the_callers():
    directory("d", mode=0o777, gid=0)
    expect(as_user(OTHER_UID, OTHER_GID, [], lambda: make("d/f") and "ok"), "ok")
    expect((os.stat("d/f").st_uid, os.stat("d/f").st_gid), (OTHER_UID, OTHER_GID))


def check_a_file_opened_before_it_was_forbidden_stays_usable():
    directory("d", mode=0o777)

    def work():
        fd = os.open("d/f", os.O_CREAT | os.O_RDWR | os.O_EXCL, 0o000)
        os.write(fd, b"x" * 10_000)
        expect(os.pread(fd, 1, 9_999), b"x")
        os.close(fd)
        return outcome(os.open, "d/f", os.O_RDONLY)

    expect(as_user(SOME_UID, SOME_GID, [], work), "EACCES")


def check_access_asks_for_the_real_user():
    owned("f", mode=0o640)
    expect(as_user(SOME_UID, SOME_GID, [], lambda: f"{os.access('f', os.R_OK)} {os.access('f', os.X_OK)}"), "True False")
    expect(as_user(OTHER_UID, OTHER_GID, [], lambda: str(os.access("f", os.R_OK))), "False")


def check_programs_run():
    make("script", b"#!/bin/sh\necho ran\n", 0o755)
    expect(os.popen(os.getcwd() + "/script").read(), "ran\n")
    with open("/bin/true", "rb") as file:
        make("program", file.read(), 0o755)
    expect(os.spawnl(os.P_WAIT, "program", "program"), 0)
    fd = os.open("program", os.O_WRONLY)
    fails("ETXTBSY", os.execv, "./program", ["program"])
    os.close(fd)
    expect(os.spawnl(os.P_WAIT, "program", "program"), 0)
    os.chmod("program", 0o644)
    fails("EACCES", os.execv, "./program", ["program"])


def check_utime_permissions():
    owned("f", mode=0o666)
    now = lambda path: utimensat(path, (0, UTIME_NOW), (0, UTIME_NOW))
    given = lambda path: utimensat(path, (5, 0), (6, 0))
    mixed = lambda path: utimensat(path, (0, UTIME_NOW), (0, UTIME_OMIT))
    neither = lambda path: utimensat(path, (0, UTIME_OMIT), (0, UTIME_OMIT))
    stranger = {"uid": OTHER_UID, "gid": OTHER_GID}
    user_fails("ok", now, "f", **stranger)
    user_fails("EPERM", given, "f", **stranger)
    user_fails("EPERM", mixed, "f", **stranger)
    user_fails("ok", neither, "f", **stranger)
    os.chmod("f", 0o644)
    user_fails("EACCES", now, "f", **stranger)
    for call in (now, given, mixed, neither):
        user_fails("ok", call, "f")
