//! The proxy for an address: `https_proxy`, `http_proxy`, `all_proxy` and `no_proxy`, in either case, as pip reads them.

use std::net::Ipv4Addr;

use crate::env::Env;
use crate::url::Url;

/// Returns the proxy for an address: `named` (pip's own setting), or that of the environment unless `no_proxy` exempts the host.
pub(crate) fn proxy_for(url: &Url, named: Option<&str>, env: &Env) -> Option<String> {
    let variable = |name: &str| env.get(name).or_else(|| env.get(&name.to_uppercase()));
    if variable("no_proxy").is_some_and(|list| is_exempt(list, &url.host, url.port())) {
        return None;
    }
    let of_scheme = format!("{}_proxy", url.scheme);
    let proxy = named.or_else(|| variable(&of_scheme)).or_else(|| variable("all_proxy"))?;
    Some(if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") })
}

/// Entries of `no_proxy`: `*`, a host and all below it, either with a port, an address, a network such as `10.0.0.0/8`.
fn is_exempt(list: &str, host: &str, port: Option<u16>) -> bool {
    let host = host.trim_matches(['[', ']']);
    list.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        let (name, of_port) = match entry.rsplit_once(':') {
            Some((name, digits)) if !name.contains(':') => (name, digits.parse().ok()),
            _ => (entry, None),
        };
        let name = name.trim_start_matches("*.").trim_start_matches('.').trim_matches(['[', ']']);
        let below = host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        entry == "*" || (below && (of_port.is_none() || of_port == port)) || is_in_network(host, entry)
    })
}

fn is_in_network(host: &str, entry: &str) -> bool {
    let parse = || -> Option<bool> {
        let (network, bits) = entry.split_once('/')?;
        let bits: u32 = bits.parse().ok().filter(|bits| *bits <= 32)?;
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        let (host, network): (Ipv4Addr, Ipv4Addr) = (host.parse().ok()?, network.parse().ok()?);
        Some((u32::from(host) & mask) == (u32::from(network) & mask))
    };
    parse().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(url: &str, variables: &[(&str, &str)]) -> Option<String> {
        proxy_for(&Url::parse(url).unwrap(), None, &Env::of(variables))
    }

    #[test]
    fn the_scheme_chooses_the_variable() {
        let all = [("HTTPS_PROXY", "http://s:1"), ("http_proxy", "plain:2"), ("ALL_PROXY", "socks5h://a:3")];
        assert_eq!(proxy("https://index.example/simple/", &all).as_deref(), Some("http://s:1"));
        assert_eq!(proxy("http://index.example/simple/", &all).as_deref(), Some("http://plain:2"));
        assert_eq!(proxy("http://index.example/simple/", &all[2..]).as_deref(), Some("socks5h://a:3"));
        assert_eq!(proxy("http://index.example/simple/", &all[..1]), None);
        let url = Url::parse("https://index.example/").unwrap();
        assert_eq!(proxy_for(&url, Some("pip:9"), &Env::of(&all)).as_deref(), Some("http://pip:9"));
    }

    #[test]
    fn no_proxy_exempts_hosts_domains_ports_and_networks() {
        let through = |host: &str, list: &str| {
            proxy(&format!("https://{host}/"), &[("https_proxy", "http://p:1"), ("no_proxy", list)]).is_some()
        };
        for (host, list) in [
            ("index.example", "index.example"),
            ("files.campus.edu", "other, .campus.edu"),
            ("files.campus.edu", "campus.edu"),
            ("files.campus.edu", "*.campus.edu"),
            ("campus.edu:8443", "campus.edu:8443"),
            ("10.1.2.3", "10.0.0.0/8"),
            ("anything", "*"),
        ] {
            assert!(!through(host, list), "{host} {list}");
        }
        for (host, list) in [
            ("myindex.example", "index.example"),
            ("campus.edu", "campus.edu:8443"),
            ("11.1.2.3", "10.0.0.0/8"),
            ("index.example", ""),
        ] {
            assert!(through(host, list), "{host} {list}");
        }
    }
}
