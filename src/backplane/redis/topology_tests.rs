use proptest::prelude::*;

use super::*;

fn at(text: &str) -> HostPort {
    let (host, port) = text.rsplit_once(':').expect("host and port");
    HostPort { host: host.to_owned(), port: port.parse().expect("a port") }
}

/// Who has these slots, each as one word.
fn owners(topology: &Topology, slots: &[usize]) -> Vec<String> {
    let all: Vec<_> = topology.owners().map(|at| at.map_or("-".to_owned(), ToString::to_string)).collect();
    slots.iter().map(|slot| all[*slot].clone()).collect()
}

fn view(text: &str) -> View {
    View::read(text, &at("10.0.0.9:6379"), false)
}

const NODES: &str = "\
aaa 10.0.0.1:6379@16379,redis-0.redis master - 0 1426238317239 1 connected 0-5460
bbb :6379@16379 myself,master - 0 0 2 connected 5461-10922 [93->-aaa] [77-<-aaa]
ccc 10.0.0.3:6379@16379,,shard-id=1 master - 0 1426238318243 3 connected 10923-16382 16383
ddd 10.0.0.4:6379@16379 slave aaa 0 1426238316232 1 connected
eee :0@0 slave,fail,noaddr bbb 1426238316232 0 2 disconnected
fff fd00::6:6379@16379 handshake - 0 0 0 connected
nonsense
";

#[test]
fn the_answer_of_a_node_is_read() {
    let mut topology = Topology::default();
    topology.learn(&view(NODES));
    let first = ["10.0.0.1:6379", "10.0.0.9:6379", "10.0.0.3:6379", "10.0.0.3:6379"];
    assert_eq!(owners(&topology, &[0, 5461, 10_923, 16_383]), first);
    let nodes: Vec<_> = topology.nodes().iter().map(ToString::to_string).collect();
    assert_eq!(nodes, ["10.0.0.1:6379", "10.0.0.9:6379", "10.0.0.3:6379", "10.0.0.4:6379"]);
    let named = View::read(NODES, &at("10.0.0.9:6379"), true);
    assert_eq!(named.claims[0].at, at("redis-0.redis:6379"));
    assert_eq!(named.claims[2].at, at("10.0.0.3:6379"), "an empty name is none");
}

#[test]
fn what_is_no_range_is_none() {
    for bad in ["", "x", "5-", "-5", "7-6", "16384", "0-16384", "[93->-aaa]", "[1", "-1"] {
        assert_eq!(range(bad), None, "{bad}");
    }
    assert_eq!((range("5"), range("5-7")), (Some((5, 5)), Some((5, 7))));
}

#[test]
fn a_failover_is_believed_and_not_what_was_before_it() {
    let mut topology = Topology::default();
    topology.learn(&view(NODES));
    let failed = NODES
        .replace("slave aaa 0 1426238316232 1 connected", "master - 0 1 4 connected 0-5460")
        .replace("master - 0 1426238317239 1 connected 0-5460", "master,fail - 0 1426238317239 1 connected");
    topology.learn(&view(&failed));
    assert_eq!(owners(&topology, &[0, 5460, 5461]), ["10.0.0.4:6379", "10.0.0.4:6379", "10.0.0.9:6379"]);
    topology.learn(&view(NODES));
    assert_eq!(owners(&topology, &[0]), ["10.0.0.4:6379"], "an older configuration counts for nothing");
}

#[test]
fn a_node_that_is_cut_off_is_not_believed() {
    let mut topology = Topology::default();
    topology.learn(&view(NODES));
    let alone = NODES.replace(" master - 0", " master,fail? - 0").replace("10.0.0.1:", "10.0.0.8:");
    topology.learn(&view(&alone));
    assert_eq!(owners(&topology, &[0]), ["10.0.0.1:6379"]);
}

#[test]
fn a_master_with_a_new_address_is_followed() {
    let mut topology = Topology::default();
    topology.learn(&view(NODES));
    topology.learn(&view(&NODES.replace("10.0.0.1:", "10.0.0.8:")));
    assert_eq!(owners(&topology, &[0, 5461]), ["10.0.0.8:6379", "10.0.0.9:6379"]);
}

#[test]
fn a_cluster_that_was_set_up_anew_is_believed_in_the_end() {
    let mut topology = Topology::default();
    topology.learn(&view(&NODES.replace(" 1 connected 0", " 9 connected 0")));
    let anew = view("xxx 10.0.0.7:6379@16379 myself,master - 0 0 1 connected 0-16383\n");
    for _ in 1..FORGOTTEN_AFTER {
        topology.learn(&anew);
        assert_eq!(owners(&topology, &[0]), ["10.0.0.1:6379"], "it may be that nobody told this node yet");
    }
    topology.learn(&anew);
    assert_eq!(owners(&topology, &[0, 16_383]), ["10.0.0.7:6379", "10.0.0.7:6379"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_node_answers_is_read(
        lines in prop::collection::vec("[a-c]{0,2} ([0-9.:@,a]{0,9}) (master|slave|myself,master|fail) - 0 0 [0-9]{0,20} connected( [0-9-]{0,11}){0,3}", 0..6),
        text in ".{0,200}",
    ) {
        let mut topology = Topology::default();
        topology.learn(&view(&lines.join("\n")));
        topology.learn(&view(&text));
        prop_assert!(topology.owners().flatten().all(|at| at.port != 0));
    }

    /// Masters take slots from each other, each time with a higher epoch; nodes are asked in any order, and some say what
    /// was true a while ago. Once one has said the present, no older word counts.
    #[test]
    fn the_latest_configuration_counts_in_whatever_order_it_is_heard(
        moves in prop::collection::vec((0..3_usize, 0..16_u16), 1..12),
        heard in prop::collection::vec(0..12_usize, 0..20),
    ) {
        let mut holders = [0_usize; 16];
        let mut epochs = [1_u64, 2, 3];
        let mut words = Vec::new();
        let word = |holders: &[usize; 16], epochs: &[u64; 3]| {
            let line = |master: usize| {
                let slots: String =
                    (0..16).filter(|slot| holders[*slot] == master).map(|slot| format!(" {slot}")).collect();
                format!("id{master} 10.0.0.{master}:1@2 master - 0 0 {} connected{slots}\n", epochs[master])
            };
            view(&(0..3).map(line).collect::<String>())
        };
        words.push(word(&holders, &epochs));
        for (master, slot) in moves {
            // As a node that takes a slot does, unless its configuration is the latest already.
            let latest = *epochs.iter().max().expect("three");
            if epochs[master] != latest {
                epochs[master] = latest + 1;
            }
            holders[usize::from(slot)] = master;
            words.push(word(&holders, &epochs));
        }
        let present = words.last().expect("one").clone();
        let mut topology = Topology::default();
        for index in heard {
            topology.learn(&words[index % words.len()]);
        }
        topology.learn(&present);
        let expected: Vec<_> = holders.iter().map(|master| format!("10.0.0.{master}:1")).collect();
        prop_assert_eq!(owners(&topology, &(0..16).collect::<Vec<_>>()), expected);
    }
}
