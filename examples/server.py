"""A server and its client on one machine: what is pushed again is linked, not sent."""

import os
import secrets
import tempfile

import py_eacopy


def main() -> None:
    token = secrets.token_urlsafe()
    with tempfile.TemporaryDirectory() as folder:
        share = os.path.join(folder, "share")
        build = os.path.join(folder, "build")
        os.mkdir(share)
        os.mkdir(build)
        for number in range(100):
            with open(os.path.join(build, f"asset{number}.bin"), "wb") as asset:
                asset.write(os.urandom(10_000))

        with py_eacopy.EACopyServer(port=0, shares={"builds": share}, token=token) as server:
            for name in ("monday", "tuesday"):
                url = f"eacopy://localhost:{server.port}/builds/{name}"
                report = py_eacopy.copy_with_server(build, url, token=token)
                print(f"{name}: {report.files_copied} sent, {report.files_linked} linked, {report.bytes_sent} bytes")
            print(server.get_stats()["files_linked"], "files were linked in all")


if __name__ == "__main__":
    main()
