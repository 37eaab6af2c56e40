//! Slurm's lists of machines.

/// Returns the first machine of a list such as `gpu[07-09,12]-ib,login` (Slurm's `scontrol show hostnames`).
pub(crate) fn first_host(list: &str) -> Option<String> {
    let (mut host, mut rest) = (String::new(), list.trim());
    // Up to the first comma that is in no bracket; of each bracket, its first number.
    while let Some(end) = rest.find(['[', ',']) {
        host += &rest[..end];
        if rest[end..].starts_with(',') {
            rest = "";
            break;
        }
        let (inside, after) = rest[end + 1..].split_once(']')?;
        host += inside.split(['-', ',']).next()?;
        rest = after;
    }
    host += rest;
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::first_host;

    #[test]
    fn the_first_machine_is_that_of_scontrol() {
        for (list, first) in [
            ("node1", "node1"),
            ("node1,node2", "node1"),
            ("gpu[07-09,12]", "gpu07"),
            ("gpu[3,5],cpu[1-2]", "gpu3"),
            ("rack[1-2]n[04-08]-ib,x", "rack1n04-ib"),
        ] {
            assert_eq!(first_host(list).as_deref(), Some(first), "{list}");
        }
        assert_eq!(first_host(""), None);
        assert_eq!(first_host("gpu[1-2"), None);
    }
}
