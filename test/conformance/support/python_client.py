"""A small client with the habits of the official Python SDK (cas-api sections 2.1, 3.3, 15), run against a local server.

Everything is on http.client as the SDK is on httplib: a new connection for every request, Content-Length 0 where there
is no body, a Date that is no HTTP date, a signed Host without port, and a second Host on uploads from files, which are
sent in pieces of 1 MiB before anything of the answer is read. It fails, with a traceback, where the SDK would.

usage: python_client.py PORT SECRET_ID SECRET_KEY NOW_SECONDS DIRECTORY
"""

import hashlib
import hmac
import http.client
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

MIB = 1024 * 1024
HOST = "localhost"
PORT, SECRET_ID, SECRET_KEY, NOW, DIRECTORY = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]


class ServerError(Exception):
    def __init__(self, status, fields, request_id):
        super().__init__("Expected 2xx, got (%s, %r, request_id=%s)" % (status, fields, request_id))
        self.status, self.code, self.type = status, fields.get("code"), fields.get("type")


def hmac_sha1(key, text):
    return hmac.new(key.encode("utf-8"), text.encode("latin-1"), hashlib.sha1).hexdigest()


def line_of(pairs, lowercase):
    items = []
    for name, value in sorted((name.strip().lower(), value) for name, value in pairs.items()):
        text = value.lower() if lowercase else value
        escaped = quote(text.encode("utf-8"), safe="-_.~")
        items.append(quote(name, safe="/-_.~") + ("=" + escaped if escaped else ""))
    return "&".join(items)


def authorization(method, path, headers, params):
    window = "%d;%d" % (NOW, NOW + 1200)
    text = "%s\n%s\n%s\n%s\n" % (method.lower(), path, line_of(params, True), line_of(headers, False))
    to_sign = "sha1\n%s\n%s\n" % (window, hashlib.sha1(text.encode("latin-1")).hexdigest())
    names = lambda pairs: ";".join(sorted(name.lower() for name in pairs))
    return "&".join([
        "q-sign-algorithm=sha1", "q-ak=" + SECRET_ID, "q-sign-time=" + window, "q-key-time=" + window,
        "q-header-list=" + names(headers), "q-url-param-list=" + names(params),
        "q-signature=" + hmac_sha1(hmac_sha1(SECRET_KEY, window), to_sign),
    ])


class Response(dict):
    """Lowercase headers and the fields of a JSON body in one dictionary; which bodies are JSON, the exact type says."""

    def __init__(self, raw):
        super().__init__((name.lower(), value) for name, value in raw.getheaders())
        self.status, self.raw = raw.status, raw
        self.request_id = self["x-cas-requestid"]
        content_type = self.get("content-type")
        self.body = None
        if not 200 <= raw.status < 300:
            fields = json.loads(raw.read())
            raise ServerError(raw.status, fields, self.request_id)
        if content_type == "application/octet-stream" or "content-range" in self:
            return
        self.body = raw.read()
        if content_type is not None:
            fields = json.loads(self.body)
            if not isinstance(fields, dict):
                raise IOError("the top level is no object")
            self.update(fields)

    def pieces(self, size=MIB):
        while True:
            piece = self.raw.read(size)
            if not piece:
                return
            yield piece


def signed_headers(method, path, headers, params, length):
    headers = dict(headers or {})
    unsigned = {name: headers.pop(name) for name in ["Content-Range"] if name in headers}
    headers["Host"] = HOST
    if length:
        headers["Content-Length"] = str(length)
    signature = authorization(method, path, headers, params or {})
    headers.update(unsigned)
    headers.setdefault("Content-Length", "0")
    headers["Authorization"] = signature
    headers["Date"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW))
    headers["User-Agent"] = "CAS Python SDK"
    return headers


def url_of(path, params):
    query = "&".join("%s=%s" % (name, quote(value, safe="/")) for name, value in (params or {}).items())
    return path + ("?" + query if query else "")


def call(method, path, headers=None, params=None, body=b"", sign_length=False):
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=100)
    complete = signed_headers(method, path, headers, params, len(body) if sign_length else 0)
    complete["Content-Length"] = str(len(body))
    connection.request(method, url_of(path, params), body, complete)
    return Response(connection.getresponse())


def send_file(method, path, headers, reader, length):
    """The library adds a Host with the port, then the client adds its own: both are on the wire."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=100)
    connection.putrequest(method, path)
    for name, value in signed_headers(method, path, headers, {}, length).items():
        connection.putheader(name, value)
    connection.endheaders()
    try:
        left = length
        while left > 0:
            piece = reader.read(min(MIB, left))
            connection.send(piece)
            left -= len(piece)
    except BrokenPipeError:
        pass
    return Response(connection.getresponse())


def tree_hash(content):
    level = [hashlib.sha256(content[at:at + MIB]).digest() for at in range(0, len(content), MIB)]
    while len(level) > 1:
        pairs = [level[at:at + 2] for at in range(0, len(level), 2)]
        level = [hashlib.sha256(b"".join(pair)).digest() if len(pair) == 2 else pair[0] for pair in pairs]
    return level[0].hex()


def hashes(content, uppercase=False):
    values = {"x-cas-content-sha256": hashlib.sha256(content).hexdigest(), "x-cas-sha256-tree-hash": tree_hash(content)}
    return {name: value.upper() for name, value in values.items()} if uppercase else values


def pattern(size):
    unit = bytes(range(251))
    return (unit * (size // 251 + 1))[:size]


def wait(vault, job):
    for _ in range(200):
        described = call("GET", "%s/jobs/%s" % (vault, job))
        if described["Completed"]:
            assert described["StatusCode"] == "Succeeded", described
            return described
        time.sleep(0.05)
    raise AssertionError("the job does not complete")


def start_job(vault, order):
    response = call("POST", vault + "/jobs", body=json.dumps(order).encode())
    assert response.status == 202 and len(response["x-cas-job-id"]) == 64
    assert response["location"].endswith("/jobs/" + response["x-cas-job-id"])
    return response["x-cas-job-id"]


def download(vault, described, expected):
    """In pieces of 32 MiB, each judged by its tree hash whenever the job has one."""
    size, received = len(expected), []
    for first in range(0, size, 32 * MIB):
        last = min(first + 32 * MIB, size) - 1
        path = "%s/jobs/%s/output" % (vault, described["JobId"])
        response = call("GET", path, {"Range": "bytes=%d-%d" % (first, last)})
        assert response["content-range"] == "bytes %d-%d/%d" % (first, last, size), response
        piece = b"".join(response.pieces())
        assert len(piece) == last - first + 1
        if described["SHA256TreeHash"] is not None:
            assert response["x-cas-sha256-tree-hash"] == tree_hash(piece), (first, last)
        received.append(piece)
    whole = b"".join(received)
    assert whole == expected
    if described["SHA256TreeHash"] is not None:
        assert tree_hash(whole) == described["SHA256TreeHash"]


def retrieve(vault, archive, content, byte_range=None):
    order = {"Type": "archive-retrieval", "ArchiveId": archive, "Tier": "Expedited"}
    if byte_range is not None:
        order["RetrievalByteRange"] = "%d-%d" % byte_range
    described = wait(vault, start_job(vault, order))
    first, last = byte_range or (0, len(content) - 1)
    assert described["RetrievalByteRange"] == "%d-%d" % (first, last)
    assert described["ArchiveSizeInBytes"] == len(content) and described["ArchiveSHA256TreeHash"] == tree_hash(content)
    download(vault, described, content[first:last + 1])
    return described


def upload_in_parts(vault, path, content, description):
    part_size = 16 * MIB
    headers = {"x-cas-part-size": str(part_size), "x-cas-archive-description": description}
    upload = call("POST", vault + "/multipart-uploads", headers)["x-cas-multipart-upload-id"]
    target = "%s/multipart-uploads/%s" % (vault, upload)

    def send_part(index):
        first = index * part_size
        part = content[first:first + part_size]
        # The command line sends uppercase hashes; the library compares what is listed with its lowercase ones.
        fields = hashes(part, uppercase=index == 1)
        fields["Content-Range"] = "bytes %d-%d/*" % (first, first + len(part) - 1)
        with open(path, "rb") as reader:
            reader.seek(first)
            assert send_file("PUT", target, fields, reader, len(part)).status == 204

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(send_part, [2, 0, 1]))
    marker, listed = None, {}
    while True:
        page = call("GET", target, params={"limit": "2", **({"marker": marker} if marker else {})})
        listed.update((part["RangeInBytes"], part["SHA256TreeHash"]) for part in page["Parts"])
        marker = page["Marker"]
        if not marker:
            break
    assert page["PartSizeInBytes"] == part_size and page["ArchiveDescription"] == description
    for text, listed_hash in listed.items():
        first, last = map(int, text.split("-"))
        assert tree_hash(content[first:last + 1]) == listed_hash
    assert len(listed) == 3
    fields = {"x-cas-archive-size": str(len(content)), "x-cas-sha256-tree-hash": tree_hash(content)}
    return call("POST", target, fields)["x-cas-archive-id"]


def inventory(vault, order):
    described = wait(vault, start_job(vault, {"Type": "inventory-retrieval", "InventoryRetrievalParameters": {}, **order}))
    assert described["InventorySizeInBytes"] > 0 and described["InventoryRetrievalParameters"]["Limit"] == 0
    last = described["InventorySizeInBytes"] - 1
    response = call("GET", "%s/jobs/%s/output" % (vault, described["JobId"]), {"Range": "bytes=0-%d" % last})
    assert response["content-range"] == "bytes 0-%d/%d" % (last, last + 1)
    return b"".join(response.pieces()).decode("utf-8")


def expect_error(status, code, work):
    try:
        work()
    except ServerError as error:
        assert (error.status, error.code, error.type.lower()) == (status, code, "client"), error
        return
    raise AssertionError("no %s" % code)


def main():
    name = "py-sdk_Vault.1"
    vault = "/-/vaults/" + name
    created = call("PUT", vault)
    assert created.status == 201 and created["location"].endswith("/vaults/" + name)
    described = call("GET", vault)
    assert described["VaultName"] == name and described["NumberOfArchives"] is None
    print("vault")

    small, large = pattern(3 * MIB + 5), pattern(33 * MIB + 17)
    path = os.path.join(DIRECTORY, "large")
    with open(path, "wb") as file:
        file.write(large)
    single = call("POST", vault + "/archives", {**hashes(small), "x-cas-archive-description": "d e+f"}, body=small, sign_length=True)
    with open(path, "rb") as reader:
        from_file = send_file("POST", vault + "/archives", hashes(large), reader, len(large))
    for response, content in [(single, small), (from_file, large)]:
        assert response.status == 201 and len(response["x-cas-archive-id"]) == 128
        assert response["x-cas-sha256-tree-hash"] == tree_hash(content)
    parts = upload_in_parts(vault, path, large, "in parts")
    archives = {single["x-cas-archive-id"]: small, from_file["x-cas-archive-id"]: large, parts: large}
    assert len(archives) == 3
    print("uploads")

    # 40 MiB to nobody: sent completely, and the error text is still there to be read.
    def to_nobody():
        with open(path, "rb") as reader:
            send_file("POST", "/-/vaults/nobody/archives", hashes(large), reader, len(large))

    def with_wrong_hash():
        with open(path, "rb") as reader:
            send_file("POST", vault + "/archives", hashes(small), reader, len(large))

    expect_error(404, "ResourceNotFoundException", to_nobody)
    expect_error(400, "InvalidDigest", with_wrong_hash)
    expect_error(400, "BadRequest", lambda: call("DELETE", vault))
    print("errors")

    for archive, content in archives.items():
        assert retrieve(vault, archive, content)["SHA256TreeHash"] == tree_hash(content)
    aligned = retrieve(vault, parts, large, (16 * MIB, 32 * MIB - 1))
    assert aligned["SHA256TreeHash"] == tree_hash(large[16 * MIB:32 * MIB])
    assert retrieve(vault, parts, large, (MIB, 3 * MIB - 1))["SHA256TreeHash"] is None
    assert retrieve(vault, parts, large, (32 * MIB, len(large) - 1))["SHA256TreeHash"] is not None
    print("retrievals")

    keys = ("JobId Action StatusCode StatusMessage ArchiveId ArchiveSizeInBytes SHA256TreeHash ArchiveSHA256TreeHash "
            "RetrievalByteRange Completed CompletionDate CreationDate InventorySizeInBytes JobDescription VaultQCS").split()
    jobs, marker = [], None
    while True:
        params = {"completed": "True", "limit": "4", "statuscode": "Succeeded", **({"marker": marker} if marker else {})}
        page = call("GET", vault + "/jobs", params=params)
        jobs.extend(page["JobList"])
        marker = page["Marker"]
        if not marker:
            break
    assert len(jobs) == 6 and all(set(keys) <= set(job) for job in jobs)
    assert call("GET", vault + "/jobs", params={"completed": "False"})["JobList"] == []
    print("jobs")

    listed = json.loads(inventory(vault, {}))["ArchiveList"]
    assert {entry["ArchiveId"]: (entry["Size"], entry["SHA256TreeHash"]) for entry in listed} == {
        archive: (len(content), tree_hash(content)) for archive, content in archives.items()}
    assert sorted(entry["ArchiveDescription"] for entry in listed) == ["", "d e+f", "in parts"]
    rows = inventory(vault, {"Format": "CSV"}).split("\r\n")
    assert rows[0] == "ArchiveId,ArchiveDescription,CreationDate,Size,SHA256TreeHash" and len(rows) == 5
    assert call("GET", vault)["NumberOfArchives"] == 3
    print("inventories")

    policy = '{"version":"2.0"}'
    assert call("PUT", vault + "/access-policy", body=json.dumps({"policy": policy}).encode()).status == 204
    assert call("GET", vault + "/access-policy")["policy"] == policy
    assert call("DELETE", vault + "/access-policy").status == 204
    aborted = call("POST", vault + "/multipart-uploads", {"x-cas-part-size": str(16 * MIB)})["x-cas-multipart-upload-id"]
    assert [one["MultipartUploadId"] for one in call("GET", vault + "/multipart-uploads")["UploadsList"]] == [aborted]
    assert call("DELETE", "%s/multipart-uploads/%s" % (vault, aborted)).status == 204
    print("policy and abort")

    for archive in archives:
        assert call("DELETE", "%s/archives/%s" % (vault, archive)).status == 204
    assert call("DELETE", vault).status == 204
    expect_error(404, "ResourceNotFoundException", lambda: call("GET", vault))
    assert call("GET", "/-/vaults", params={"limit": "5"})["VaultList"] == []
    print("deleted")


main()
