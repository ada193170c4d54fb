"""Random reads, writes, cuts, holes, maps and copies of one file against a copy of it in memory, byte by byte.

    python3 fsx.py DIRECTORY SEED STEPS [LARGEST] [WITHOUT...]

Steps named after the numbers are left out, for file systems that lack them.
Prints nothing and exits 0 when every byte was right; else the steps that led to the wrong one.
"""

import mmap
import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import *

O_TMPFILE = 0o20000000 | os.O_DIRECTORY


class Exerciser:
    def __init__(self, directory, seed, largest, without):
        self.path = os.path.join(directory, f"fsx-{seed}")
        self.rng = random.Random(seed)
        self.largest = largest
        self.steps = {step: weight for step, weight in self.STEPS.items() if step.__name__ not in without}
        self.model = bytearray()
        self.history = []
        self.fd = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_EXCL, 0o600)

    def range(self):
        """A place and a length, often at edges of pages and blocks, not beyond the largest size."""
        rng = self.rng
        offset = rng.choice([rng.randrange(self.largest), rng.randrange(self.largest) & ~4095, len(self.model), 0])
        length = rng.choice([1, 100, 4096, rng.randrange(1, 70_000), rng.randrange(1, self.largest)])
        offset = min(offset, self.largest - 1)
        return offset, min(length, self.largest - offset)

    def data(self, length):
        return self.rng.randbytes(length)

    def put(self, offset, data):
        if offset > len(self.model):
            self.model.extend(bytes(offset - len(self.model)))
        self.model[offset : offset + len(data)] = data

    def write(self, offset, length):
        data = self.data(length)
        view, at = memoryview(data), offset
        while len(view):
            done = os.pwrite(self.fd, view, at)
            view, at = view[done:], at + done
        self.put(offset, data)

    def append(self, _offset, length):
        other = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        data = self.data(min(length, max(0, self.largest - len(self.model)), 50_000))
        expect(os.write(other, data), len(data))
        os.close(other)
        self.model.extend(data)

    def direct_write(self, offset, length):
        offset, length = offset & ~4095, max(4096, length & ~4095)
        buffer = mmap.mmap(-1, length)
        data = self.data(length)
        buffer.write(data)
        other = os.open(self.path, os.O_RDWR | os.O_DIRECT)
        expect(os.pwritev(other, [buffer], offset), length)
        expect(os.preadv(other, [buffer], offset), length)
        expect(bytes(buffer), data, "what was just written")
        os.close(other)
        self.put(offset, data)

    def read(self, offset, length):
        self.compare(os.pread(self.fd, length, offset), offset, length)

    def compare(self, found, offset, length):
        wanted = bytes(self.model[offset : offset + length])
        if found == wanted:
            return
        at = next((index for index, (one, other) in enumerate(zip(found, wanted)) if one != other), min(len(found), len(wanted)))
        raise AssertionError(f"from {offset}: {len(found)} bytes instead of {len(wanted)}, and byte {offset + at} differs")

    def truncate(self, offset, _length):
        os.ftruncate(self.fd, offset)
        self.put(offset, b"")
        del self.model[offset:]

    def truncate_path(self, offset, _length):
        os.truncate(self.path, offset)
        self.put(offset, b"")
        del self.model[offset:]

    def punch(self, offset, length):
        fallocate(self.fd, PUNCH_HOLE | KEEP_SIZE, offset, length)
        end = min(offset + length, len(self.model))
        if offset < end:
            self.model[offset:end] = bytes(end - offset)

    def zero(self, offset, length):
        fallocate(self.fd, ZERO_RANGE, offset, length)
        self.put(offset, bytes(length))

    def allocate(self, offset, length):
        fallocate(self.fd, 0, offset, length)
        self.put(max(len(self.model), offset + length), b"")

    def copy(self, offset, length):
        length = min(length, len(self.model) - offset)
        target = self.rng.randrange(self.largest)
        length = min(length, self.largest - target, abs(target - offset))
        done = 0
        while done < length:
            piece = os.copy_file_range(self.fd, self.fd, length - done, offset + done, target + done)
            expect(piece > 0, True, "copied")
            done += piece
        if length > 0:
            self.put(target, bytes(self.model[offset : offset + length]))

    def map_write(self, offset, length):
        if not self.model:
            return
        offset %= len(self.model)
        length = min(length, len(self.model) - offset)
        data = self.data(length)
        with mmap.mmap(self.fd, len(self.model)) as memory:
            memory[offset : offset + length] = data
            if self.rng.random() < 0.5:
                memory.flush()
        self.put(offset, data)

    def map_read(self, offset, length):
        if not self.model:
            return
        offset %= len(self.model)
        with mmap.mmap(self.fd, len(self.model), prot=mmap.PROT_READ) as memory:
            self.compare(memory[offset : offset + length], offset, length)

    def reopen(self, _offset, _length):
        os.close(self.fd)
        self.fd = os.open(self.path, os.O_RDWR)

    def sync(self, _offset, _length):
        os.fsync(self.fd)

    def drop_pages(self, _offset, _length):
        os.fsync(self.fd)
        os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def seek(self, offset, _length):
        """Whatever is told as a hole must read as zeros, and the next data must come where it is told."""
        if offset >= len(self.model):
            return
        try:
            data = os.lseek(self.fd, offset, os.SEEK_DATA)
        except OSError as error:
            expect(error.errno, errno.ENXIO)
            data = len(self.model)
        expect(bytes(self.model[offset:data]).count(0), data - offset, "a hole has zeros")
        hole = os.lseek(self.fd, offset, os.SEEK_HOLE)
        expect(offset <= hole <= len(self.model), True, "a hole is within the file")

    def replace(self, _offset, _length):
        """As editors and rsync do it."""
        temporary = self.path + ".new"
        with open(temporary, "wb") as file:
            file.write(self.model)
        os.rename(temporary, self.path)
        self.reopen(0, 0)

    STEPS = {
        write: 12, append: 3, direct_write: 2, read: 12, truncate: 3, truncate_path: 2, punch: 3, zero: 2, allocate: 2,
        copy: 4, map_write: 6, map_read: 5, reopen: 4, sync: 1, drop_pages: 2, seek: 3, replace: 1,
    }

    def run(self, steps):
        kinds, weights = list(self.steps), list(self.steps.values())
        for number in range(steps):
            step = self.rng.choices(kinds, weights)[0]
            offset, length = self.range()
            self.history.append(f"{number} {step.__name__}({offset}, {length}) of {len(self.model)}")
            step(self, offset, length)
            expect(os.fstat(self.fd).st_size, len(self.model), "size")
            if number % 50 == 0 or number == steps - 1:
                self.compare(contents(self.path), 0, len(self.model) + 1)
        os.close(self.fd)
        os.unlink(self.path)


def main(directory, seed, steps, *more):
    largest = next((int(word) for word in more if word.isdigit()), 1_000_000)
    exerciser = Exerciser(directory, int(seed), largest, [word for word in more if not word.isdigit()])
    try:
        exerciser.run(int(steps))
    except (AssertionError, OSError) as error:
        print(f"seed {seed}: {error}")
        print("\n".join(exerciser.history[-40:]))
        sys.exit(1)


main(*sys.argv[1:])
