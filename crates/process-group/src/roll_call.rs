//! The processes of a group, when all have come.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use tch::Device;

use crate::GroupError;
use crate::keys::Keys;

/// Time between two looks at a key.
pub(crate) const LOOK: Duration = Duration::from_millis(10);

/// One process of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Name of its machine.
    pub(crate) host: String,
    /// Processors that it may use, as Linux lists them.
    processors: String,
    /// Kind of its device: `cpu` or `cuda`.
    device: String,
}

impl Member {
    fn this(device: Device) -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let device = if device.is_cuda() { "cuda" } else { "cpu" }.to_owned();
        Self { host, processors: allowed.unwrap_or_default().trim().to_owned(), device }
    }
}

/// Waits until all processes have come.
pub(crate) fn roll_call(
    keys: &Keys,
    (rank, world_size): (usize, usize),
    device: Device,
    patience: Duration,
) -> Result<Vec<Member>, GroupError> {
    let Member { host, processors, device } = Member::this(device);
    keys.set(&format!("member/{rank}"), &format!("{host}\n{processors}\n{device}"))?;
    let begun = Instant::now();
    let wait_for = |rank: usize| {
        let key = format!("member/{rank}");
        loop {
            if let Some(value) = keys.find(&key)? {
                let mut lines = value.split('\n').map(str::to_owned);
                let mut next = || lines.next().unwrap_or_default();
                return Ok(Member { host: next(), processors: next(), device: next() });
            }
            if begun.elapsed() > patience {
                return Err(GroupError::Missing { rank, world_size, seconds: patience.as_secs() });
            }
            thread::sleep(LOOK);
        }
    };
    let members: Vec<Member> = (0..world_size).map(wait_for).collect::<Result<_, _>>()?;
    let expected = &members[0].device;
    let differs = members.iter().position(|member| member.device != *expected);
    differs.map_or(Ok(()), |rank| {
        let actual = members[rank].device.clone();
        let (what, advice) = ("device".to_owned(), "choose one for all with --device");
        Err(GroupError::Differs { rank, what, actual, expected: expected.clone(), advice })
    })?;
    Ok(members)
}

/// Returns the threads that process `rank` may compute with: its share of the processors that it has to share with others.
pub(crate) fn threads(members: &[Member], rank: usize, processors: usize) -> usize {
    let sharing = members.iter().filter(|member| **member == members[rank]).count();
    (processors / sharing.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_shared_by_those_that_are_bound_to_the_same_ones() {
        let member = |host: &str, processors: &str| Member {
            host: host.into(),
            processors: processors.into(),
            device: "cpu".into(),
        };
        let members = [member("a", "0-7"), member("a", "0-7"), member("a", "0-7"), member("b", "0-7")];
        assert_eq!((threads(&members, 0, 8), threads(&members, 3, 8)), (2, 8));
        let bound = [member("a", "0-3"), member("a", "4-7")];
        assert_eq!(threads(&bound, 1, 4), 4);
        assert_eq!(threads(&members, 1, 2), 1);
    }
}
