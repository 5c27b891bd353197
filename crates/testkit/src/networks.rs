//! Two networks with one wire between them: what is in one cannot reach what is in the other but over that wire.
//!
//! They are network namespaces of this machine (`ip netns`), which only root can make. A thread that is [`Network::within`] one starts its programs and opens
//! its sockets there; loopback is each network's own.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network. It goes when this is dropped, and the wire with it.
pub struct Network {
    name: String,
    device: String,
    address: Ipv4Addr,
}

impl Network {
    /// Two networks and the wire between them.
    ///
    /// # Panics
    /// They cannot be made: this wants root.
    pub fn pair() -> [Self; 2] {
        let id = format!("{:04x}{:04x}", std::process::id() & 0xFFFF, crate::free_port());
        let network = |side: &str, last: u8| Self {
            name: format!("overread-{id}-{side}"),
            device: format!("o{id}{side}"),
            // TEST-NET-1 of RFC 5737: nobody's real network.
            address: Ipv4Addr::new(192, 0, 2, last),
        };
        let pair = [network("a", 1), network("b", 2)];
        for side in &pair {
            ip(&["netns", "add", &side.name]);
            ip(&["-n", &side.name, "link", "set", "lo", "up"]);
        }
        let [a, b] = &pair;
        ip(&[
            "link", "add", &a.device, "netns", &a.name, "type", "veth", "peer", "name", &b.device, "netns",
            &b.name,
        ]);
        for side in &pair {
            ip(&["-n", &side.name, "addr", "add", &format!("{}/30", side.address), "dev", &side.device]);
            side.mend();
        }
        pair
    }

    /// Its address on the wire.
    pub const fn address(&self) -> IpAddr {
        IpAddr::V4(self.address)
    }

    /// Does something inside: sockets that are opened and programs that are started by it are there.
    ///
    /// # Panics
    /// It cannot be entered, or what is done panics.
    pub fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let space = File::open(format!("/run/netns/{}", self.name)).expect("the network");
        // A thread of its own, so that this one stays where it is.
        let inside = || {
            move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("entering the network");
            act()
        };
        std::thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Cuts the wire at this end.
    pub fn cut(&self) {
        ip(&["-n", &self.name, "link", "set", &self.device, "down"]);
    }

    /// Joins it again.
    pub fn mend(&self) {
        ip(&["-n", &self.name, "link", "set", &self.device, "up"]);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().expect("the program ip (package iproute2)");
    assert!(output.status.success(), "ip {args:?}: {}; run as root", String::from_utf8_lossy(&output.stderr));
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_wire_is_the_only_way() {
        let [here, there] = Network::pair();
        let (local, open) = there.within(|| {
            (TcpListener::bind(("127.0.0.1", 0)).unwrap(), TcpListener::bind((there.address(), 0)).unwrap())
        });
        let (local_port, port) = (local.local_addr().unwrap().port(), open.local_addr().unwrap().port());
        let try_to = |address: IpAddr, port| {
            here.within(|| TcpStream::connect_timeout(&(address, port).into(), Duration::from_secs(1)))
        };
        assert!(try_to("127.0.0.1".parse().unwrap(), local_port).is_err());
        let mut socket = try_to(there.address(), port).unwrap();
        drop(open.accept().unwrap());
        assert_eq!(socket.read(&mut [0]).unwrap_or(0), 0);
        here.cut();
        assert!(try_to(there.address(), port).is_err());
        here.mend();
        assert!(try_to(there.address(), port).is_ok());
        // Nor is this machine's own loopback seen from inside.
        let own = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        assert!(try_to("127.0.0.1".parse().unwrap(), own.local_addr().unwrap().port()).is_err());
    }
}
