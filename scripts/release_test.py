"""What a release is made of."""

import io
import pathlib
import tarfile
import unittest

import release


class Archive(unittest.TestCase):
    def test_the_same_files_make_the_same_bytes(self) -> None:
        files = {"websocket-service": b"program", "LICENSE": b"text"}
        packed = release.archive(files, "folder", 1_700_000_000)
        self.assertEqual(packed, release.archive(dict(reversed(files.items())), "folder", 1_700_000_000))
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            found = [(entry.name, oct(entry.mode), entry.mtime, entry.uid, entry.uname) for entry in tar]
        self.assertEqual(found, [
            ("folder/LICENSE", "0o644", 1_700_000_000, 0, ""),
            ("folder/websocket-service", "0o755", 1_700_000_000, 0, ""),
        ])


class Surroundings(unittest.TestCase):
    def test_no_place_and_no_stranger_s_flag_gets_into_the_programs(self) -> None:
        given = {"PATH": "/bin", "RUSTFLAGS": "-C target-cpu=native", "CARGO_PROFILE_RELEASE_LTO": "off", "CARGO_HOME": "/somewhere"}
        made = release.surroundings(pathlib.Path("/elsewhere"), given, "7")
        self.assertEqual(made["PATH"], "/bin")
        self.assertNotIn("RUSTFLAGS", made)
        self.assertNotIn("CARGO_PROFILE_RELEASE_LTO", made)
        self.assertEqual(made["SOURCE_DATE_EPOCH"], "7")
        for place in ("/somewhere=/cargo", "/elsewhere=/target", f"{release.ROOT}=/build"):
            self.assertIn(f"--remap-path-prefix={place}", made["CARGO_ENCODED_RUSTFLAGS"].split("\x1f"))
            self.assertIn(f"-ffile-prefix-map={place}", made["CFLAGS"].split())


class Provenance(unittest.TestCase):
    def test_it_names_what_was_made_and_from_what(self) -> None:
        statement = release.provenance({"b": b"2", "a": b"1"}, "c0ffee", b"lock", {"release": "1.95.0"})
        self.assertEqual([subject["name"] for subject in statement["subject"]], ["a", "b"])
        self.assertEqual(statement["subject"][0]["digest"]["sha256"], release.digest(b"1"))
        definition = statement["predicate"]["buildDefinition"]
        self.assertEqual(definition["resolvedDependencies"][0]["digest"], {"gitCommit": "c0ffee"})
        self.assertEqual(definition["internalParameters"]["rustc"]["release"], "1.95.0")


if __name__ == "__main__":
    unittest.main()
