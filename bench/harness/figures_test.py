"""The pure parts: figures, ratios, tables, the page. `make bench-test` runs them."""

import unittest

from harness import figures, loads, machine, micro, page

CONNECT = {
    "final": True, "failed": {"refused": 2}, "connects_per_s": 4000.0, "handshake_ms": {"p99": 12.0},
    "server": {"bytes_per_connection": 4000, "cpu_us_per_connect": 50.0, "idle_cpu_us_per_connection_second": 0.8,
               "rss_before": 2**20, "rss_idle": 5 * 2**20, "rss_after": 2 * 2**20},
}
PACED = {"final": True, "never_opened": 1, "lost": 0, "latency_ms": {"p50": 0.5, "p99": 2.0, "p999": 4.0},
         "server": {"cpu_us_per_delivery": 18.0}}
TITLES = {"ours": "ours", "peer": "a peer"}


def results() -> dict:
    peer = {"connect": {**CONNECT, "server": {"bytes_per_connection": 40_000}}, "paced": {"failed": "it did not start"}}
    return {
        "machine": {"cpu": "a CPU", "cores": 2, "memory_gib": 8, "kernel": "Linux", "date": "today", "redis": "8"},
        "versions": {"ours": "1.0", "peer": "2.0"}, "missing": {}, "commands": ["websocket-bench connect"],
        "floor_us": 4.5, "servers": {"ours": {"connect": CONNECT, "paced": PACED}, "peer": peer}, "growth": {},
        "workers": {"1": {"paced": PACED}, "2": {"paced": PACED}}, "apart": False, "micro": {"micro/hub/to_nobody": 12.5},
    }


class Numbers(unittest.TestCase):
    def test_three_figures_count(self) -> None:
        texts = {4321.0: "4,320", 50_912.0: "50,900", 128.4: "128", 99.96: "100", 18.04: "18.0", 9.996: "10.0", 4.256: "4.26",
                 0.9996: "1.00", 0.0821: "0.082", 0.0: "0", -512.0: "-512", 1_000_000.0: "1,000,000"}
        for value, text in texts.items():
            self.assertEqual(figures.number(value), text)
        self.assertEqual(figures.number(None), "–")

    def test_a_ratio_needs_both(self) -> None:
        self.assertEqual(figures.ratio(30, 10), 3)
        for value, base in ((None, 1), (1, None), (1, 0)):
            self.assertIsNone(figures.ratio(value, base))
        self.assertEqual([figures.times(value) for value in (None, 12.7, 7.14, 1.0, 0.333)], ["–", "13×", "7.1×", "1.0×", "0.33×"])

    def test_a_duration_has_the_unit_that_suits(self) -> None:
        self.assertEqual([figures.duration(value) for value in (12.5, 1500, 2.5e6, 3e9)], ["12.5 ns", "1.50 µs", "2.50 ms", "3.00 s"])

    def test_what_is_not_there_is_none(self) -> None:
        self.assertEqual(figures.at(CONNECT, "server.cpu_us_per_connect"), 50)
        for path in ("server", "server.x", "final", "server.x.y"):
            self.assertIsNone(figures.at(CONNECT, path))
        self.assertIsNone(figures.at({"server": None}, "server.rss_idle"))

    def test_failed_connections_are_summed_over_loads(self) -> None:
        row = next(figure for figure in figures.FIGURES if figure.load == "*")
        self.assertEqual(figures.value({"connect": CONNECT, "paced": PACED, "max": {"failed": "why"}}, row), 3)
        self.assertIsNone(figures.value({"max": {"failed": "why"}}, row))

    def test_memory_that_came_back(self) -> None:
        self.assertEqual(figures.back(CONNECT), {"before": 1, "idle": 5, "after": 2, "returned": 75})
        self.assertIsNone(figures.back({"server": None})["returned"])

    def test_percentiles_end_with_one_message(self) -> None:
        self.assertEqual(figures.percentiles([[1, 90], [2, 9], [8, 1]]), [(0.1, 1), (0.01, 2), (0.01, 8)])
        self.assertEqual(figures.percentiles([]), [])


class Tables(unittest.TestCase):
    def test_a_cell_cannot_break_the_table(self) -> None:
        self.assertEqual(figures.table(["a", "b"], [["x|y", "1"]]), "| a | b |\n| --- | ---: |\n| x\\|y | 1 |")

    def test_servers_stand_side_by_side(self) -> None:
        servers = results()["servers"]
        self.assertIn("| memory of an idle connection, bytes | 4,000 | 40,000 |", figures.side_by_side(servers, TITLES))
        self.assertIn("| memory of an idle connection, bytes | 1.0× | 10× |", figures.against(servers, TITLES, "ours"))
        self.assertIn("| CPU of a delivery, paced | 4.0× | – |", figures.against_floor(servers, TITLES, 4.5))

    def test_throughput_of_workers_shows_only_where_cores_are_apart(self) -> None:
        one, two = {"max": {"delivered_per_s": 100.0}}, {"max": {"delivered_per_s": 180.0}}
        self.assertIn("1.8×", figures.workers(one, two, apart=True))
        self.assertNotIn("a second", figures.workers(one, two, apart=False))

    def test_two_threads_stand_beside_one(self) -> None:
        medians = {"micro/hub/x/t=1": 10.0, "micro/hub/x/t=2": 15.0, "micro/token/verify/HS256": 1000.0}
        text = figures.micro(medians)
        self.assertIn("| `hub/x` | 10.0 ns | 15.0 ns | 1.5× |", text)
        self.assertIn("| `token/verify/HS256` | 1.00 µs |  |  |", text)


class Page(unittest.TestCase):
    def test_the_template_names_nothing_unknown_and_misses_nothing(self) -> None:
        text = page.render(results(), TITLES, page.TEMPLATE.read_text())
        self.assertNotIn("$", text)
        self.assertIn("**4.50 µs**", text)
        self.assertIn("75.0 % of what they had taken", text)
        self.assertIn("a peer, paced: no result, it did not start", text)

    def test_a_run_without_results_still_makes_a_page(self) -> None:
        nothing = {**results(), "servers": {}, "floor_us": None, "workers": {"1": {}, "2": {}}, "micro": {},
                   "versions": {}, "missing": {"peer": "there is no npm"}}
        self.assertIn("a peer: not measured, there is no npm", page.render(nothing, TITLES, page.TEMPLATE.read_text()))


class Loads(unittest.TestCase):
    def test_a_server_that_takes_less_gets_less(self) -> None:
        self.assertEqual(loads.CONNECT.limited(4_000).connections, 4_000)
        self.assertEqual(loads.FAN_OUT.limited(None), loads.FAN_OUT)

    def test_arguments_say_users_and_connections_of_each(self) -> None:
        arguments = loads.FAN_OUT.arguments()
        self.assertEqual(arguments[:5], ["deliver", "--users", "1", "--connections-per-user", "1000"])
        self.assertIn("max", loads.MAX.arguments())
        self.assertIn("--hold", loads.CONNECT.arguments())

    def test_quick_is_small_and_keeps_the_shape(self) -> None:
        small = loads.quick(loads.FAN_OUT)
        self.assertEqual((small.connections, small.each, small.publish, small.seconds), (50, 50, 5, 2))
        self.assertIsNone(loads.quick(loads.MAX).publish)

    def test_cores_are_apart_where_there_are_enough(self) -> None:
        self.assertEqual(machine.split([0, 1]), ("0", "1"))
        self.assertEqual(machine.split([0, 1], 2), ("0,1", "1"))
        self.assertEqual(machine.split([0, 1, 2, 3], 2), ("0,1", "2,3"))
        self.assertEqual([machine.are_apart(list(range(n)), 2) for n in (2, 4)], [False, True])
        with self.assertRaises(SystemExit):
            machine.split([0])

    def test_the_processor_is_found(self) -> None:
        self.assertEqual(machine.cpu_model("flags : x\nmodel name\t: A CPU @ 2 GHz\n"), "A CPU @ 2 GHz")


class Micro(unittest.TestCase):
    TEXT = """\
Timer precision: 20 ns
micro                     fastest       │ slowest       │ median        │ mean          │ samples │ iters
├─ codec                                │               │               │               │         │
│  ╰─ envelope                          │               │               │               │         │
│     ├─ 256              30.1 ns       │ 40 ns         │ 31.5 ns       │ 32 ns         │ 100     │ 100
│     │                   8.5 GB/s      │ 6.4 GB/s      │ 8.1 GB/s      │ 8 GB/s        │         │
│     ╰─ 16384            1.2 µs        │ 2 µs          │ 1.25 µs       │ 1.3 µs        │ 100     │ 100
╰─ hub                                  │               │               │               │         │
   ├─ to_nobody           20 ns         │ 25 ns         │ 21 ns         │ 22 ns         │ 100     │ 100
   ╰─ to_different_users                │               │               │               │         │
      ├─ t=1              80 ns         │ 95 ns         │ 81 ns         │ 82 ns         │ 100     │ 100
      ╰─ t=2              90 ns         │ 99 ns         │ 95 ns         │ 96 ns         │ 100     │ 100
"""

    def test_medians_are_read_by_their_path(self) -> None:
        self.assertEqual(micro.parse(self.TEXT), {
            "codec/envelope/256": 31.5, "codec/envelope/16384": 1250, "hub/to_nobody": 21,
            "hub/to_different_users/t=1": 81, "hub/to_different_users/t=2": 95,
        })


if __name__ == "__main__":
    unittest.main()
