//! The keys of one group in a store that others may use too.

use std::time::Duration;

use torch_ext::distributed::Store;

use crate::GroupError;

/// The key of the first failure: its process, the one that told, and a sentence, each on a line.
const FAILURE: &str = "failure";

/// Time that an answer takes at the most.
pub(crate) const ANSWER: Duration = Duration::from_secs(20);

/// The first failure of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The process, where it is known.
    pub(crate) rank: Option<usize>,
    /// The process itself has told.
    pub(crate) told: bool,
    /// Its end, in words.
    pub(crate) message: String,
}

impl From<Failure> for GroupError {
    fn from(Failure { rank, message, .. }: Failure) -> Self {
        Self::Left { rank, message }
    }
}

/// A store, seen by one group.
#[derive(Debug)]
pub(crate) struct Keys {
    store: Store,
    prefix: String,
}

impl Keys {
    pub(crate) fn new(store: Store, prefix: String) -> Self {
        Self { store, prefix }
    }

    /// Opens another connection, for another thread.
    pub(crate) fn connect_again(&self) -> Result<Self, GroupError> {
        Ok(Self { store: self.store.connect_again()?, prefix: self.prefix.clone() })
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn name(&self, key: &str) -> String {
        format!("{}/{key}", self.prefix)
    }

    pub(crate) fn set(&self, key: &str, value: &str) -> Result<(), GroupError> {
        Ok(self.store.set(&self.name(key), value.as_bytes())?)
    }

    pub(crate) fn set_bytes(&self, key: &str, value: &[u8]) -> Result<(), GroupError> {
        Ok(self.store.set(&self.name(key), value)?)
    }

    /// Returns the value of a key, waiting up to `timeout` until it is set.
    pub(crate) fn get_bytes(&self, key: &str, timeout: Duration) -> Result<Vec<u8>, GroupError> {
        Ok(self.store.get(&self.name(key), timeout)?)
    }

    /// Returns the value of a key, where it is set.
    pub(crate) fn find(&self, key: &str) -> Result<Option<String>, GroupError> {
        let name = self.name(key);
        if !self.store.has(&name)? {
            return Ok(None);
        }
        Ok(Some(String::from_utf8_lossy(&self.store.get(&name, ANSWER)?).into_owned()))
    }

    pub(crate) fn is_set(&self, key: &str) -> Result<bool, GroupError> {
        Ok(self.store.has(&self.name(key))?)
    }

    pub(crate) fn add(&self, key: &str, by: u32) -> Result<u64, GroupError> {
        Ok(self.store.add(&self.name(key), by)?)
    }

    /// Records a failure of process `rank`, told by process `by`, unless another was first; returns the first.
    pub(crate) fn fail(&self, rank: usize, by: usize, message: &str) -> Result<Failure, GroupError> {
        let value = format!("{rank}\n{by}\n{message}");
        let first = self.store.set_first(&self.name(FAILURE), value.as_bytes())?;
        Ok(failure(&String::from_utf8_lossy(&first)))
    }

    /// Returns the first failure, if there was one.
    pub(crate) fn failure(&self) -> Result<Option<Failure>, GroupError> {
        Ok(self.find(FAILURE)?.as_deref().map(failure))
    }
}

fn failure(value: &str) -> Failure {
    let mut lines = value.splitn(3, '\n');
    let (rank, by) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    Failure {
        rank: rank.parse().ok(),
        told: rank == by,
        message: lines.next().unwrap_or_default().to_owned(),
    }
}
