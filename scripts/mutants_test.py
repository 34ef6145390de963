"""What mutants.py makes of the service's source."""

import unittest
from pathlib import Path
from tempfile import TemporaryDirectory

import mutants


class Crate(unittest.TestCase):
    def test_only_named_modules_stay_and_no_other_target(self) -> None:
        text = "pub mod auth;\npub mod cli;\n\n#[cfg(test)]\nmod generated;\n"
        self.assertEqual(mutants.library(text, ["auth"]), "pub mod auth;\n\n#[cfg(test)]\nmod generated;\n")
        text = (
            '[package]\nname = "x"\ndefault-run = "x"\n\n[[bin]]\nname = "x"\n\n[profile.dev]\ndebug = 1\n\n'
            '[dependencies]\nasync-trait = "0.1"\nkube = "5"\n\n[dev-dependencies]\ntempfile = { version = "3" }\n'
        )
        made = mutants.manifest(text, "auth")
        self.assertIn('[lib]\nname = "websocket_service_auth"\n', made)
        for gone in ["default-run", "[[bin]]"]:
            self.assertNotIn(gone, made)
        for kept in ['[package]\nname = "x"\n', "[profile.dev]", '[dependencies]\nasync-trait = "0.1"\nkube = "5"\n', "tempfile"]:
            self.assertIn(kept, made)

    def test_other_rooms_lose_their_tests_and_properties_most_of_their_cases(self) -> None:
        self.assertEqual(mutants.untested("fn a() {}\n\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n"), "fn a() {}\n\n")
        declared = '#[cfg(test)]\n#[path = "a_tests.rs"]\nmod tests;\nmod b;\n'
        self.assertEqual(mutants.untested(declared), "mod b;\n")
        self.assertEqual(mutants.quick("with_cases(10_000)"), "with_cases(1000)")

    def test_every_room_is_laid_with_what_is_tried_and_nothing_is_left_of_before(self) -> None:
        for name, room in mutants.ROOMS.items():
            with TemporaryDirectory() as folder:
                stray = Path(folder) / "src/stray.rs"
                mutants.write(stray, "")
                mutants.lay(name, Path(folder))
                self.assertFalse(stray.exists())
                for file in room.files:
                    self.assertTrue(list((Path(folder) / "src" / name).glob(file)), f"{name}/{file}")


if __name__ == "__main__":
    unittest.main()
