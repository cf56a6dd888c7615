//! A partition that the kernel makes: the way to Consul leads through a network namespace.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};

use cirrus_core::testing::Forwarder;
use cirrus_core::testing::process::ConsulServer;
use cirrus_core::testing::rolling_suite::{Told, run, trouble};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::consul::Agent;

/// A namespace at the other end of a cable.
struct Namespace {
    name: String,
    near: Ipv4Addr,
    far: Ipv4Addr,
}

// === impl Namespace ===

impl Namespace {
    /// `None` where the machine does not let us.
    fn new() -> Option<Self> {
        // A net of four addresses, from the range that is set aside for tests of this kind.
        let id = std::process::id();
        let base = Ipv4Addr::new(198, 18, 0, 0).to_bits() + (id % 16_384) * 4;
        let namespace = Self {
            name: format!("cirrus{id}"),
            near: Ipv4Addr::from_bits(base + 1),
            far: Ipv4Addr::from_bits(base + 2),
        };
        let Self { name, near, far } = &namespace;
        let (here, there) = (format!("ca{id}"), format!("cb{id}"));
        let steps = [
            format!("netns add {name}"),
            format!("link add {here} type veth peer name {there} netns {name}"),
            format!("addr add {near}/30 dev {here}"),
            format!("link set {here} up"),
            format!("-n {name} addr add {far}/30 dev {there}"),
            format!("-n {name} link set {there} up"),
        ];
        steps.iter().all(|step| ip(step)).then_some(namespace)
    }

    /// A socket on the other side.
    fn listen(&self) -> TcpListener {
        let (path, far) = (format!("/run/netns/{}", self.name), self.far);
        // A thread that goes there does not come back.
        let thread = std::thread::spawn(move || {
            let namespace = std::fs::File::open(path).unwrap();
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), network).unwrap();
            TcpListener::bind((far, 0)).unwrap()
        });
        let listener = thread.join().unwrap();
        listener.set_nonblocking(true).unwrap();
        listener
    }

    /// Packets arrive there, and what is said in return is lost without a word.
    fn cut(&self) {
        let Self { name, near, .. } = self;
        assert!(ip(&format!("-n {name} route add blackhole {near}/32")));
    }

    fn heal(&self) {
        let Self { name, near, .. } = self;
        assert!(ip(&format!("-n {name} route del blackhole {near}/32")));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&format!("netns del {}", self.name));
    }
}

fn ip(arguments: &str) -> bool {
    let mut command = Command::new("ip");
    command.args(arguments.split(' ')).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[test]
fn a_partition_in_the_network_itself() {
    let server = ConsulServer::start("dc1");
    let Some(namespace) = Namespace::new() else {
        // Past what is captured: it has to be seen when the test passes, too.
        let told = "no network namespace can be made here: the partition is one of the test's own";
        writeln!(std::io::stderr(), "{told}").unwrap();
        run(async {
            let network = Forwarder::to(server.address()).await;
            let agent = Agent::behind(network, server);
            trouble(
                agent,
                Told::Error,
                async |agent| agent.cut(),
                async |agent| agent.heal(),
            )
            .await;
        });
        return;
    };
    run(async {
        let listener = tokio::net::TcpListener::from_std(namespace.listen()).unwrap();
        let network = Forwarder::listening(listener, server.address()).await;
        let agent = Agent::behind(network, server);
        let (cut, heal) = (|| namespace.cut(), || namespace.heal());
        trouble(agent, Told::Error, async |_| cut(), async |_| heal()).await;
    });
}
