use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use proptest::prelude::*;

use super::{ConnectError, Reach, connect, is_public, permitted, permitted_of};

const WRITTEN: Reach = Reach::Written { private: None };

fn forbidden(reach: &Reach, host: &str, address: &str) -> bool {
    reach.objection(host, address.parse().expect(address)).is_some()
}

#[test]
fn private_ranges_are_fine_and_credential_services_are_not() {
    for (address, fine) in [
        ("10.1.2.3", true),
        ("192.168.0.9", true),
        ("fd12:3456::1", true),
        ("93.184.216.34", true),
        ("2606:2800:220:1::1", true),
        ("169.254.169.254", false),
        ("169.254.170.2", false),
        ("fe80::1", false),
        ("febf::1", false),
        ("fd00:ec2::254", false),
        ("fd00:ec2::23", false),
        ("fd00:c1::a9fe:a9fe", false),
        ("fd20:ce::254", false),
        ("100.100.100.200", false),
        ("168.63.129.16", false),
        ("192.0.0.192", false),
        ("0.0.0.0", false),
        ("0.1.2.3", false),
        ("::", false),
        ("224.0.0.1", false),
        ("255.255.255.255", false),
        ("240.0.0.1", false),
        ("ff02::1", false),
    ] {
        assert_eq!(!forbidden(&WRITTEN, "db.corp.example", address), fine, "{address}");
    }
    assert!(forbidden(&WRITTEN, "169.254.169.254", "169.254.169.254"), "writing it down does not help");
}

#[test]
fn an_ipv4_address_is_seen_through_every_ipv6_form_of_it() {
    for wrapped in [
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "::ffff:0:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "64:ff9b:1:a9fe:a9:fe00::",
        "2002:a9fe:a9fe::1",
        "2001:0:4136:e378:8000:63bf:5601:5601",
        "2001:db8::5efe:169.254.169.254",
        "2001:db8::200:5efe:169.254.169.254",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
    ] {
        assert!(forbidden(&WRITTEN, "db.corp.example", wrapped), "{wrapped}");
        assert!(forbidden(&Reach::Learned, "db.corp.example", wrapped), "{wrapped}");
    }
}

#[test]
fn loopback_is_reached_only_when_it_was_written() {
    for (host, address, fine) in [
        ("localhost", "127.0.0.1", true),
        ("LOCALHOST", "::1", true),
        ("db.localhost", "127.0.0.1", true),
        ("127.0.0.2", "127.0.0.2", true),
        ("::1", "::1", true),
        ("[::1]", "::1", true),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1", true),
        ("db.corp.example", "127.0.0.1", false),
        ("db.corp.example", "::1", false),
        ("notlocalhost", "127.0.0.1", false),
        ("127.0.0.1.evil.example", "127.0.0.1", false),
        ("localhost.evil.example", "127.0.0.1", false),
        // What only the system's resolver takes for an address is not written as one.
        ("127.1", "127.0.0.1", false),
        ("0x7f.1", "127.0.0.1", false),
        ("0x7f000001", "127.0.0.1", false),
        ("2130706433", "127.0.0.1", false),
        ("0177.0.0.1", "127.0.0.1", false),
        ("017700000001", "127.0.0.1", false),
        ("127.0.0.1.", "127.0.0.1", false),
        ("localhost.", "127.0.0.1", false),
        ("::1%1", "::1", false),
    ] {
        assert_eq!(!forbidden(&WRITTEN, host, address), fine, "{host} {address}");
        assert!(forbidden(&Reach::Learned, host, address), "nobody but the operator names this machine: {host}");
    }
}

#[test]
fn a_learned_name_leads_to_public_addresses_alone() {
    for (address, fine) in [
        ("93.184.216.34", true),
        ("2606:2800:220:1::1", true),
        ("64:ff9b::5db8:d822", true),
        ("10.1.2.3", false),
        ("172.16.0.1", false),
        ("172.32.0.1", true),
        ("192.168.0.9", false),
        ("100.64.0.1", false),
        ("100.128.0.1", true),
        ("198.18.0.1", false),
        ("192.0.2.1", false),
        ("203.0.113.7", false),
        ("64:ff9b::a01:203", false),
        ("2002:a01:203::1", false),
        ("fd12:3456::1", false),
        ("fec0::1", false),
        ("2001:db8::1", false),
        ("2001:2::1", false),
        ("3fff:0:1::1", false),
        ("100::1", false),
        ("4000::1", false),
    ] {
        assert_eq!(!forbidden(&Reach::Learned, "keys.example", address), fine, "{address}");
    }
}

#[test]
fn a_written_name_leads_to_the_private_networks_that_are_listed() {
    let listed = ["10.0.0.0/8", "fd12::/16"].map(|network| network.parse().expect(network));
    let reach = Reach::Written { private: Some(Arc::from(listed)) };
    for (address, fine) in [
        ("10.1.2.3", true),
        ("::ffff:10.1.2.3", true),
        ("fd12::7", true),
        ("192.168.0.9", false),
        ("::ffff:192.168.0.9", false),
        ("100.64.0.1", false),
        ("fd13::7", false),
        ("fec0::1", false),
        ("93.184.216.34", true),
        ("127.0.0.1", false),
    ] {
        assert_eq!(!forbidden(&reach, "db.corp.example", address), fine, "{address}");
    }
    assert!(!forbidden(&reach, "localhost", "127.0.0.1"), "loopback is no private network");
    let none = Reach::Written { private: Some(Arc::from([])) };
    assert!(forbidden(&none, "db.corp.example", "10.1.2.3"), "an empty list permits none");
}

#[test]
fn of_several_addresses_the_forbidden_ones_are_left_out() {
    let found: [SocketAddr; 3] =
        ["169.254.169.254:80", "10.0.0.7:80", "[::1]:80"].map(|address| address.parse().expect(address));
    let permitted = permitted_of(found.into_iter(), "db.corp.example", &WRITTEN).expect("one of them");
    assert_eq!(permitted, [found[1]]);
    let error = permitted_of(found.into_iter(), "keys.example", &Reach::Learned).expect_err("none of them");
    assert!(matches!(error, ConnectError::Forbidden { .. }), "{error}");
}

#[tokio::test]
async fn a_forbidden_address_is_not_even_tried() {
    let error = connect("169.254.169.254", 80, &WRITTEN).await.expect_err("a metadata address");
    assert!(matches!(error, ConnectError::Forbidden { .. }), "{error}");
    assert_eq!(error.to_string(), "169.254.169.254 leads to 169.254.169.254, a link-local address");
}

#[tokio::test]
async fn what_the_resolver_of_this_machine_makes_of_odd_spellings_is_judged() {
    for host in ["0x7f.1", "127.1", "2130706433", "0177.0.0.1", "[::ffff:169.254.169.254]", "0xa9fea9fe", "localhost."]
    {
        let error = permitted(host, 80, &WRITTEN).await.expect_err(host);
        // Some resolvers know no such spelling; what matters is that none of them leads anywhere.
        assert!(matches!(error, ConnectError::Forbidden { .. } | ConnectError::Unresolved(..)), "{host}: {error}");
    }
    permitted("localhost", 80, &WRITTEN).await.expect("this machine, as written");
}

proptest! {
    /// No wrapping makes an address reachable that is not reachable by itself.
    #[test]
    fn wrapping_widens_nothing(bits: u32, form in 0_usize..5) {
        let (v4, high, low) = (std::net::Ipv4Addr::from(bits), bits >> 16, bits & 0xffff);
        let wrapped = match form {
            0 => format!("::ffff:{v4}"),
            1 => format!("64:ff9b::{v4}"),
            2 => format!("2002:{high:x}:{low:x}::1"),
            3 => format!("2001:0:0:0:0:0:{:x}:{:x}", !high & 0xffff, !low & 0xffff),
            _ => format!("2606::5efe:{v4}"),
        };
        let (wrapped, plain): (IpAddr, IpAddr) = (wrapped.parse().expect("an address"), v4.into());
        for reach in [&WRITTEN, &Reach::Learned] {
            prop_assert_eq!(reach.objection("h", wrapped).is_some(), reach.objection("h", plain).is_some(), "{}", wrapped);
        }
        prop_assert!(!is_public(plain) || !forbidden(&Reach::Learned, "h", &v4.to_string()) || bits == 0xa83f_8110);
    }
}
