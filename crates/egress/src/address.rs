use ipnet::{Ipv4Net, Ipv6Net};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};
use url::{Host, Url};

/// Why a URL is not connected to. The text is for the person who gave the URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("only https and http URLs are fetched, not {0}")]
    Scheme(String),
    #[error("the URL has no host")]
    NoHost,
    #[error("the URL contains a user name or password; store a credential and name it instead")]
    UserInfo,
    #[error("port {0} is not allowed, only 80 and 443 are")]
    Port(u16),
    #[error("{0} is not a public address")]
    Address(IpAddr),
    /// The addresses are left out on purpose: they would tell what is inside our network.
    #[error("{0:?} does not resolve to public addresses only")]
    Name(String),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a host name or address with an optional port: {0:?}")]
pub struct BadAllowance(pub String);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Allowance {
    host: String,
    port: Option<u16>,
}

/// Which hosts may be connected to: public addresses on ports 80 and 443, and what is allowed by name.
///
/// The text form is a comma-separated list of `host` or `host:port`. A host of the list is connected to whatever its address
/// is, on the listed port (any port when none is listed) and on no other. An address of the list allows that literal, not
/// the names that resolve to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    allowed: Vec<Allowance>,
}

impl FromStr for AddressPolicy {
    type Err = BadAllowance;

    fn from_str(list: &str) -> Result<Self, BadAllowance> {
        let items = list.split(',').map(str::trim).filter(|item| !item.is_empty());
        Ok(Self { allowed: items.map(allowance).collect::<Result<_, _>>()? })
    }
}

fn allowance(item: &str) -> Result<Allowance, BadAllowance> {
    let bad = || BadAllowance(item.to_owned());
    // Port 1 stands in where none is given: it is nobody's default, so that "host:80" keeps its port.
    let (text, any_port) = match item.parse::<Ipv6Addr>() {
        Ok(address) => (format!("http://[{address}]:1/"), true),
        Err(_) if item.ends_with(']') || !item.contains(':') => (format!("http://{item}:1/"), true),
        Err(_) => (format!("http://{item}/"), false),
    };
    let url = Url::parse(&text).map_err(|_| bad())?;
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() || has_user_info(&url) {
        return Err(bad());
    }
    let host = url.host().ok_or_else(bad)?;
    Ok(Allowance { host: host_key(&host), port: if any_port { None } else { url.port_or_known_default() } })
}

fn has_user_info(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn host_key<S: AsRef<str>>(host: &Host<S>) -> String {
    match host {
        Host::Domain(name) => name.as_ref().trim_end_matches('.').to_ascii_lowercase(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    }
}

impl AddressPolicy {
    /// Public addresses only.
    pub fn public_only() -> Self {
        Self::default()
    }

    /// Checks all that can be said without asking DNS. Every hop of a redirect goes through here.
    pub fn check_url(&self, url: &Url) -> Result<(), Refused> {
        if !matches!(url.scheme(), "https" | "http") {
            return Err(Refused::Scheme(url.scheme().to_owned()));
        }
        if has_user_info(url) {
            return Err(Refused::UserInfo);
        }
        let host = url.host().ok_or(Refused::NoHost)?;
        let port = url.port_or_known_default().ok_or(Refused::NoHost)?;
        if self.is_listed(&host_key(&host)) {
            return if self.allows(url) { Ok(()) } else { Err(Refused::Port(port)) };
        }
        if !matches!(port, 80 | 443) {
            return Err(Refused::Port(port));
        }
        match host {
            Host::Ipv4(address) if !is_public(address.into()) => Err(Refused::Address(address.into())),
            Host::Ipv6(address) if !is_public(address.into()) => Err(Refused::Address(address.into())),
            _ => Ok(()),
        }
    }

    /// The URL's host and port are in the list.
    pub fn allows(&self, url: &Url) -> bool {
        let (Some(host), port) = (url.host(), url.port_or_known_default()) else { return false };
        let host = host_key(&host);
        self.allowed.iter().any(|a| a.host == host && (a.port.is_none() || a.port == port))
    }

    /// Checks what a name resolved to; one bad address refuses the name.
    pub(crate) fn check_resolved(&self, name: &str, addresses: &[IpAddr]) -> Result<(), Refused> {
        if self.is_listed(&name.trim_end_matches('.').to_ascii_lowercase()) || addresses.iter().all(|a| is_public(*a)) {
            return Ok(());
        }
        Err(Refused::Name(name.to_owned()))
    }

    fn is_listed(&self, host: &str) -> bool {
        self.allowed.iter().any(|a| a.host == host)
    }
}

/// Not globally reachable, or a way to something that is not (IANA IPv4 and IPv6 Special-Purpose Address Registries), and the
/// metadata services that hide among public addresses.
const REFUSED_V4: [Ipv4Net; 17] = [
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    v4([168, 63, 129, 16], 32), // Azure's platform service
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 0, 0, 0], 24),
    v4([192, 0, 2, 0], 24),
    v4([192, 88, 99, 0], 24), // 6to4 relays
    v4([192, 168, 0, 0], 16),
    v4([198, 18, 0, 0], 15),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
    v4([255, 255, 255, 255], 32),
];

/// All of global unicast; what is outside (loopback, mapped, NAT64, unique local, link-local, multicast ...) is refused.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

const REFUSED_V6: [Ipv6Net; 4] = [
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), // protocol assignments: Teredo, benchmarking, ORCHID
    v6([0x2001, 0x0db8, 0, 0, 0, 0, 0, 0], 32),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), // 6to4 carries an IPv4 address
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
];

const fn v4(octets: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]), prefix)
}

const fn v6(s: [u16; 8], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]), prefix)
}

/// A globally reachable unicast address that is nobody's metadata service.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !REFUSED_V4.iter().any(|net| net.contains(&address)),
        IpAddr::V6(address) => GLOBAL_V6.contains(&address) && !REFUSED_V6.iter().any(|net| net.contains(&address)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(policy: &str, url: &str) -> Result<(), Refused> {
        policy.parse::<AddressPolicy>().unwrap().check_url(&Url::parse(url).unwrap())
    }

    #[test]
    fn every_spelling_of_a_private_address_is_refused() {
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "017700000001",
            "127.0.0.1.",
            "１２７.0.0.1",
            "127。0。0。1",
            "0",
            "0.0.0.0",
            "10.0.0.1",
            "10.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "0xa9fea9fe",
            "2852039166",
            "169.254.170.2",
            "100.64.0.1",
            "100.100.100.200",
            "192.0.0.192",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "[::]",
            "[::1]",
            "[::127.0.0.1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::ffff:8.8.8.8]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b:1::a00:1]",
            "[2002:7f00:1::]",
            "[2001::1]",
            "[2001:db8::1]",
            "[3fff::1]",
            "[fc00::1]",
            "[fd00:ec2::254]",
            "[fe80::1]",
            "[fec0::1]",
            "[ff02::1]",
            "[100::1]",
            "[5f00::1]",
        ] {
            let refused = check("", &format!("https://{host}/")).unwrap_err();
            assert!(matches!(refused, Refused::Address(_)), "{host} gave {refused:?}");
        }
    }

    #[test]
    fn public_addresses_and_names_pass() {
        for host in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "[2606:4700::1111]", "[2a00:1450::1]", "github.com"] {
            check("", &format!("https://{host}/")).unwrap();
            check("", &format!("http://{host}/")).unwrap();
            check("", &format!("http://{host}:443/")).unwrap();
        }
    }

    #[test]
    fn schemes_ports_and_user_information_are_refused() {
        for url in
            ["file:///etc/passwd", "ssh://git@github.com/a/b", "git://github.com/a", "ftp://github.com/a", "data:,x"]
        {
            assert!(matches!(check("", url), Err(Refused::Scheme(_))), "{url}");
        }
        assert_eq!(check("", "https://github.com:22/"), Err(Refused::Port(22)));
        assert_eq!(check("", "https://github.com:8443/"), Err(Refused::Port(8443)));
        for url in ["https://user@github.com/", "https://user:secret@github.com/", "https://:secret@github.com/"] {
            assert_eq!(check("", url), Err(Refused::UserInfo), "{url}");
        }
        // The host is what stands after the last @, whatever it looks like.
        assert_eq!(check("", "https://github.com@127.0.0.1/"), Err(Refused::UserInfo));
        assert!(matches!(check("", "https://127.0.0.1\\@github.com/"), Err(Refused::Address(_))));
    }

    #[test]
    fn the_list_allows_by_name_and_port() {
        let list = "localhost, 127.0.0.1:9000, [::1], fe80::1, git.internal:443";
        for url in [
            "http://localhost/",
            "http://localhost:3000/",
            "http://LOCALHOST.:3000/",
            "http://127.1:9000/",
            "http://[::1]:1234/",
            "http://[fe80::1]/",
            "https://git.internal/",
        ] {
            check(list, url).unwrap();
        }
        assert_eq!(check(list, "http://127.0.0.1:9001/"), Err(Refused::Port(9001)));
        assert_eq!(check(list, "http://git.internal/"), Err(Refused::Port(80)), "a listed port is the only one");
        assert_eq!(check(list, "http://127.0.0.2/"), Err(Refused::Address("127.0.0.2".parse().unwrap())));
        assert_eq!(check(list, "http://x@localhost/"), Err(Refused::UserInfo));
        assert!(check("localhost", "http://notlocalhost:3000/").is_err());
        assert!(check("localhost", "http://a.localhost:3000/").is_err());
    }

    #[test]
    fn an_allowed_address_does_not_allow_names_that_resolve_to_it() {
        let policy: AddressPolicy = "127.0.0.1,localhost".parse().unwrap();
        let loopback = ["127.0.0.1".parse().unwrap()];
        assert!(policy.check_resolved("evil.example", &loopback).is_err());
        assert!(policy.check_resolved("localhost", &loopback).is_ok());
    }

    #[test]
    fn a_list_that_cannot_be_read_is_an_error() {
        for bad in ["http://localhost", "a b", "host:99999", "user@host", "host/path", "host?x", "[::1"] {
            assert!(bad.parse::<AddressPolicy>().is_err(), "{bad:?} was accepted");
        }
        assert_eq!("".parse::<AddressPolicy>().unwrap(), AddressPolicy::public_only());
    }
}
