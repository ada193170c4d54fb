"""What is in files: open flags, writes, cuts, holes, maps, copies, locks."""

import errno
import fcntl
import mmap
import os
import signal
import stat
import struct

from support import *


def check_open_flags():
    fails("ENOENT", os.open, "f", os.O_RDWR)
    fd = os.open("f", os.O_CREAT | os.O_RDWR, 0o600)
    fails("EEXIST", os.open, "f", os.O_CREAT | os.O_EXCL)
    os.symlink("missing", "dangling")
    fails("EEXIST", os.open, "dangling", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    os.close(os.open("dangling", os.O_CREAT | os.O_WRONLY))
    os.stat("missing")
    os.mkdir("d")
    fails("EISDIR", os.open, "d", os.O_WRONLY)
    fails("EISDIR", os.open, "d", os.O_RDWR)
    fails("EISDIR", os.open, "d", os.O_RDONLY | os.O_CREAT)
    fails("EISDIR", os.truncate, "d", 0)
    fails("EINVAL", os.truncate, "f", -1)
    read_only = os.open("f", os.O_RDONLY)
    fails("EBADF", os.write, read_only, b"x")
    fails("EINVAL", os.ftruncate, read_only, 0)
    write_only = os.open("f", os.O_WRONLY)
    fails("EBADF", os.read, write_only, 1)
    os.write(fd, b"abc")
    expect(os.pread(read_only, 9, 0), b"abc", "another descriptor sees it at once")
    os.close(os.open("f", os.O_RDONLY | os.O_TRUNC))
    for one in (fd, read_only, write_only):
        os.close(one)


def check_appends_go_to_the_end():
    one = os.open("f", os.O_CREAT | os.O_RDWR | os.O_APPEND)
    two = os.open("f", os.O_RDWR)
    os.write(one, b"aaa")
    os.pwrite(two, b"bbbbb", 0)
    os.write(one, b"c")
    os.lseek(one, 0, os.SEEK_SET)
    os.write(one, b"d")
    expect(contents("f"), b"bbbbbcd")
    os.close(one)
    os.close(two)


def check_appending_can_be_switched_on_and_off():
    fd = os.open("f", os.O_CREAT | os.O_RDWR | os.O_APPEND)
    os.write(fd, b"0123456789")
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_RDWR)
    os.pwrite(fd, b"x", 3)
    expect(contents("f"), b"012x456789")
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_RDWR | os.O_APPEND)
    os.lseek(fd, 0, os.SEEK_SET)
    os.write(fd, b"y")
    expect(contents("f"), b"012x456789y")
    os.close(fd)


def check_a_map_of_a_file_that_is_appended_to_keeps_its_place():
    fd = os.open("f", os.O_CREAT | os.O_RDWR | os.O_APPEND)
    os.write(fd, b"-" * 10_000)
    with mmap.mmap(fd, 10_000) as memory:
        memory[5:9] = b"here"
        memory.flush()
    os.close(fd)
    expect((os.stat("f").st_size, contents("f")[:10]), (10_000, b"-----here-"))


def check_appends_of_several_processes_do_not_overwrite_each_other():
    children = []
    for letter in b"abcd":
        child = os.fork()
        if child == 0:
            fd = os.open("f", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
            for _ in range(100):
                os.write(fd, bytes([letter]) * 100)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    found = contents("f")
    expect(len(found), 40_000)
    for at in range(0, 40_000, 100):
        expect(found[at : at + 100], found[at : at + 1] * 100)


def check_holes_read_as_zeros():
    fd = os.open("f", os.O_CREAT | os.O_RDWR)
    os.pwrite(fd, b"end", 1_000_000)
    expect(os.pread(fd, 10, 500_000), bytes(10))
    os.ftruncate(fd, 5)
    os.ftruncate(fd, 2_000_000)
    expect(os.pread(fd, 10, 999_995), bytes(10))
    os.pwrite(fd, b"x" * 5000, 3)
    os.ftruncate(fd, 100)
    os.ftruncate(fd, 5000)
    expect(contents("f"), bytes(3) + b"x" * 97 + bytes(4900))
    os.close(fd)


def check_large_offsets():
    fd = os.open("f", os.O_CREAT | os.O_RDWR)
    os.pwrite(fd, b"far", 2**40)
    expect((os.fstat(fd).st_size, os.pread(fd, 5, 2**40)), (2**40 + 3, b"far"))
    fails("EINVAL", os.pwrite, fd, b"x", -1)
    fails("EFBIG", os.ftruncate, fd, 2**63 - 1)
    fails("EFBIG", os.pwrite, fd, b"x", 2**63 - 2)
    os.ftruncate(fd, 0)
    os.close(fd)


def check_the_file_size_limit_of_a_process_holds():
    import resource

    def work():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        fd = os.open("f", os.O_CREAT | os.O_WRONLY)
        expect(os.write(fd, b"x" * 20_000), 10_000)
        return outcome(os.write, fd, b"y")

    expect(as_user(0, 0, [], work), "EFBIG")


def check_seek_data_and_hole():
    fd = os.open("f", os.O_CREAT | os.O_RDWR)
    os.ftruncate(fd, 4 * 2**20)
    os.pwrite(fd, b"x" * 65536, 2**20)
    os.pwrite(fd, b"y" * 65536, 3 * 2**20)
    os.fsync(fd)
    places = []
    at = 0
    while at < 4 * 2**20:
        try:
            data = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            expect(error.errno, errno.ENXIO)
            break
        hole = os.lseek(fd, data, os.SEEK_HOLE)
        places.append((data, hole))
        at = hole
    expect(places, [(2**20, 2**20 + 65536), (3 * 2**20, 3 * 2**20 + 65536)])
    expect(os.lseek(fd, 0, os.SEEK_HOLE), 0)
    expect(os.lseek(fd, 5, os.SEEK_HOLE), 5)
    expect(os.lseek(fd, 2**20 + 77, os.SEEK_DATA), 2**20 + 77)
    for whence in (os.SEEK_DATA, os.SEEK_HOLE):
        fails("ENXIO", os.lseek, fd, 4 * 2**20, whence)
        fails("ENXIO", os.lseek, fd, -1, whence)
    expect(os.fstat(fd).st_blocks <= 2 * 65536 / 512 + 64, True, "holes take no blocks")
    os.close(fd)
    make("full", b"z" * 10_000)
    fd = os.open("full", os.O_RDONLY)
    expect((os.lseek(fd, 0, os.SEEK_DATA), os.lseek(fd, 0, os.SEEK_HOLE)), (0, 10_000))
    os.close(fd)
    make("empty")
    fd = os.open("empty", os.O_RDONLY)
    fails("ENXIO", os.lseek, fd, 0, os.SEEK_DATA)
    fails("ENXIO", os.lseek, fd, 0, os.SEEK_HOLE)
    os.close(fd)


def check_a_sparse_copy_stays_sparse():
    fd = os.open("f", os.O_CREAT | os.O_RDWR)
    os.pwrite(fd, b"middle", 5 * 2**20)
    os.ftruncate(fd, 10 * 2**20)
    # Still open: an archived file is told to have no holes, and a closed one may be archived at any moment.
    expect(os.system("cp f g && cmp f g && tar -S -cf t f && tar -xf t --to-stdout | cmp - f"), 0)
    expect(os.stat("t").st_size < 2**20, True, "tar -S stores no holes")
    os.close(fd)


def check_blocks_are_counted():
    fd = os.open("f", os.O_CREAT | os.O_RDWR)
    expect(os.fstat(fd).st_blocks, 0)
    os.write(fd, b"x" * 100_000)
    os.fsync(fd)
    expect(100_000 / 512 <= os.fstat(fd).st_blocks <= 100_000 / 512 + 128, True, str(os.fstat(fd).st_blocks))
    os.ftruncate(fd, 0)
    expect(os.fstat(fd).st_blocks, 0)
    os.close(fd)


def check_fallocate():
    data = bytes(range(1, 251)) * 100
    fd = os.open(make("f", data), os.O_RDWR)
    fallocate(fd, 0, 0, 30_000)
    expect(contents("f"), data + bytes(5000))
    fails("EFBIG", os.posix_fallocate, fd, 0, 2**53)
    fallocate(fd, KEEP_SIZE, 0, 100_000)
    expect(os.fstat(fd).st_size, 30_000)
    fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 100, 9000)
    expect(contents("f"), data[:100] + bytes(9000) + data[9100:] + bytes(5000))
    fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 24_000, 100_000)
    expect(contents("f"), data[:100] + bytes(9000) + data[9100:24_000] + bytes(6000))
    fallocate(fd, ZERO_RANGE | KEEP_SIZE, 10_000, 10_000)
    expect(contents("f"), data[:100] + bytes(9000) + data[9100:10_000] + bytes(10_000) + data[20_000:24_000] + bytes(6000))
    fallocate(fd, ZERO_RANGE, 29_000, 5000)
    expect((os.fstat(fd).st_size, contents("f")[24_000:]), (34_000, bytes(10_000)))
    fails("EOPNOTSUPP", fallocate, fd, PUNCH_HOLE, 0, 100)
    fails("EINVAL", fallocate, fd, 0, 0, 0)
    fails("EINVAL", fallocate, fd, 0, -1, 10)
    os.close(fd)
    fd = os.open("f", os.O_RDONLY)
    fails("EBADF", fallocate, fd, 0, 0, 100)
    os.close(fd)


def check_a_punched_hole_leaves_the_disk():
    fd = os.open(make("f", b"x" * 5_000_000), os.O_RDWR)
    full = os.fstat(fd).st_blocks
    fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 100, 4_000_000)
    os.fsync(fd)
    expect(os.fstat(fd).st_blocks < full / 2, True, f"{os.fstat(fd).st_blocks} of {full} blocks")
    expect((os.fstat(fd).st_size, contents("f")), (5_000_000, b"x" * 100 + bytes(4_000_000) + b"x" * 999_900))
    os.close(fd)


def check_copy_file_range():
    data = os.urandom(3_000_000)
    source = os.open(make("a", data), os.O_RDONLY)
    target = os.open("b", os.O_CREAT | os.O_RDWR)

    def copy(length, source_at, target_at):
        done = 0
        while done < length:
            piece = os.copy_file_range(source, target, length - done, source_at + done, target_at + done)
            if piece == 0:
                break
            done += piece
        return done

    expect(copy(4_000_000, 0, 0), 3_000_000)
    expect(contents("b"), data)
    expect(copy(1000, 50, 5_000_000), 1000)
    expect(contents("b"), data + bytes(2_000_000) + data[50:1050])
    expect(copy(100_000, 2_950_000, 7), 50_000)
    expect(contents("b")[:60_000], data[:7] + data[2_950_000:] + data[50_007:60_000])
    expect(copy(10, 3_000_000, 0), 0)
    again = os.open("b", os.O_RDWR)
    expect(os.copy_file_range(again, target, 1000, 0, 1_000_000), 1000)
    expect(os.pread(target, 1000, 1_000_000), os.pread(target, 1000, 0))
    fails("EINVAL", os.copy_file_range, again, target, 1000, 0, 500)
    fails("EBADF", os.copy_file_range, target, source, 10, 0, 0)
    for fd in (source, target, again):
        os.close(fd)


def check_nameless_files():
    O_TMPFILE = 0o20000000 | os.O_DIRECTORY
    fd = os.open(".", O_TMPFILE | os.O_RDWR, 0o640)
    expect((os.listdir("."), os.fstat(fd).st_nlink), ([], 0))
    os.write(fd, b"nameless" * 1000)
    linkat_fd(fd, "named")
    expect((os.fstat(fd).st_nlink, os.stat("named").st_ino), (1, os.fstat(fd).st_ino))
    os.write(fd, b" and more")
    os.close(fd)
    expect(contents("named"), b"nameless" * 1000 + b" and more")
    expect(mode_of("named"), 0o640)
    fd = os.open(".", O_TMPFILE | os.O_WRONLY | os.O_EXCL, 0o600)
    fails("ENOENT", linkat_fd, fd, "never")
    os.close(fd)
    fd = os.open(".", O_TMPFILE | os.O_RDWR, 0o600)
    os.close(fd)
    expect(os.listdir("."), ["named"])


def check_shared_maps_write_to_the_file():
    fd = os.open(make("f", b"." * 20_000), os.O_RDWR)
    one = mmap.mmap(fd, 20_000)
    two = mmap.mmap(fd, 20_000)
    one[10_000:10_005] = b"hello"
    expect(two[10_000:10_005], b"hello")
    expect(os.pread(fd, 5, 10_000), b"hello")
    os.pwrite(fd, b"world", 10_000)
    expect(one[10_000:10_005], b"world")
    one.flush()
    os.close(fd)
    one[0:1] = b"!"
    one.close()
    two.close()
    expect(contents("f"), b"!" + b"." * 9_999 + b"world" + b"." * 9_995)
    private = mmap.mmap(os.open("f", os.O_RDONLY), 10, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    private[0:1] = b"?"
    expect(contents("f")[:1], b"!")


def check_a_map_ends_with_the_file():
    fd = os.open(make("f", b"." * 8192), os.O_RDWR)
    child = os.fork()
    if child == 0:
        memory = mmap.mmap(fd, 8192)
        os.ftruncate(fd, 100)
        signal.signal(signal.SIGBUS, signal.SIG_DFL)
        memory[5000]
        os._exit(0)
    expect(os.WTERMSIG(os.waitpid(child, 0)[1]), signal.SIGBUS)
    expect(os.fstat(fd).st_size, 100)
    os.close(fd)


def check_direct_io():
    fd = os.open("f", os.O_CREAT | os.O_RDWR | os.O_DIRECT)
    buffer = mmap.mmap(-1, 65536)
    buffer.write(b"direct!!" * 8192)
    expect(os.pwritev(fd, [buffer], 4096), 65536)
    expect(contents("f"), bytes(4096) + b"direct!!" * 8192)
    buffered = os.open("f", os.O_RDWR)
    os.pwrite(buffered, b"buffered", 8192)
    expect(os.preadv(fd, [buffer], 4096), 65536)
    expect(buffer[4096:4112], b"buffereddirect!!")
    os.close(fd)
    os.close(buffered)


def check_vectors_and_large_transfers():
    fd = os.open("f", os.O_CREAT | os.O_RDWR)
    expect(os.writev(fd, [b"a" * 100_000, b"b" * 3_000_000, b"c"]), 3_100_001)
    expect(os.pread(fd, 10, 99_995), b"aaaaabbbbb")
    expect(os.pread(fd, 10, 3_099_995), b"bbbbbc")
    expect(os.pread(fd, 10, 3_100_001), b"")
    os.close(fd)


def check_what_one_closes_another_opens():
    for size in (0, 1, 4096, 100_000):
        make("f", b"n" * size)
        expect(len(contents("f")), size)
        fd = os.open("f", os.O_RDWR)
        os.write(fd, b"m" * size)
        other = os.open("f", os.O_RDONLY)
        expect(os.read(other, size + 10), b"m" * size)
        os.close(fd)
        os.close(other)
        os.unlink("f")


def check_syncs_work():
    fd = os.open("f", os.O_CREAT | os.O_RDWR | os.O_SYNC)
    os.write(fd, b"x")
    os.fsync(fd)
    os.fdatasync(fd)
    directory = os.open(".", os.O_RDONLY)
    os.fsync(directory)
    os.fdatasync(directory)
    expect(libc.syncfs(directory), 0)
    os.close(directory)
    os.close(fd)


def check_locks_of_processes_and_descriptors():
    make("f", b"x" * 100)
    fd = os.open("f", os.O_RDWR)
    fcntl.lockf(fd, fcntl.LOCK_EX, 10, 0)

    def other():
        mine = os.open("f", os.O_RDWR)
        said = [outcome(fcntl.lockf, mine, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start) for length, start in ((10, 5), (10, 10))]
        found = fcntl.fcntl(mine, fcntl.F_GETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 100, 0))
        return f"{said} {struct.unpack('hhqqi4x', found)[2:4]}"

    expect(as_user(0, 0, [], other), "['EAGAIN', 'ok'] (0, 10)")
    fcntl.lockf(fd, fcntl.LOCK_UN, 10, 0)
    fcntl.flock(fd, fcntl.LOCK_SH)
    second = os.open("f", os.O_RDWR)
    expect(outcome(fcntl.flock, second, fcntl.LOCK_EX | fcntl.LOCK_NB), "EAGAIN")
    expect(outcome(fcntl.flock, second, fcntl.LOCK_SH | fcntl.LOCK_NB), "ok")
    os.close(second)
    second = os.open("f", os.O_RDWR)
    lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
    OFD_SETLK = 37
    fcntl.fcntl(fd, OFD_SETLK, lock)
    expect(outcome(fcntl.fcntl, second, OFD_SETLK, lock), "EAGAIN")
    os.close(fd)
    expect(outcome(fcntl.fcntl, second, OFD_SETLK, lock), "ok")
    os.close(second)


def check_poll_and_ioctl():
    import select
    import termios
    fd = os.open(make("f", b"x"), os.O_RDWR)
    poll = select.poll()
    poll.register(fd, select.POLLIN | select.POLLOUT)
    expect(poll.poll(0), [(fd, select.POLLIN | select.POLLOUT)])
    fails("ENOTTY", fcntl.ioctl, fd, termios.TCGETS, bytes(64))
    fails("ENOTTY", fcntl.ioctl, fd, 0x12345678, 0)
    available = fcntl.ioctl(fd, termios.FIONREAD, struct.pack("i", 0))
    expect(struct.unpack("i", available)[0], 1)
    os.close(fd)


def check_statvfs():
    found = os.statvfs(".")
    expect((found.f_namemax, found.f_bsize > 0, found.f_blocks >= found.f_bfree >= found.f_bavail), (255, True, True))
    expect(found.f_files >= found.f_ffree > 0, True)
