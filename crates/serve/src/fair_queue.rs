//! Bounded queue that serves its clients in turn.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Entries of several clients. The next one is the oldest of the client whose turn it is; then that client goes to the end
/// of the line. A client with a hundred entries delays another by one.
#[derive(Debug)]
pub(crate) struct FairQueue<Client, Entry> {
    capacity: usize,
    len: usize,
    turns: VecDeque<Client>,
    waiting: HashMap<Client, VecDeque<Entry>>,
}

impl<Client: Clone + Eq + Hash, Entry> FairQueue<Client, Entry> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, len: 0, turns: VecDeque::new(), waiting: HashMap::new() }
    }

    /// Returns the number of entries.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds an entry, or gives it back when the queue is full.
    pub(crate) fn push(&mut self, client: Client, entry: Entry) -> Result<(), Entry> {
        if self.len >= self.capacity {
            return Err(entry);
        }
        let entries = self.waiting.entry(client.clone()).or_default();
        if entries.is_empty() {
            self.turns.push_back(client);
        }
        entries.push_back(entry);
        self.len += 1;
        Ok(())
    }

    /// Takes the newest entry of the client that has most of them, where that is at least two more than `client` has: who
    /// fills the queue does not shut others out.
    pub(crate) fn make_room(&mut self, client: &Client) -> Option<Entry> {
        let own = self.waiting.get(client).map_or(0, VecDeque::len);
        let most = self.waiting.values_mut().max_by_key(|entries| entries.len())?;
        let entry = if most.len() > own + 1 { most.pop_back() } else { None };
        self.len -= usize::from(entry.is_some());
        entry
    }

    /// Returns the next entry.
    pub(crate) fn peek(&self) -> Option<&Entry> {
        self.waiting.get(self.turns.front()?)?.front()
    }

    /// Takes the next entry.
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        let client = self.turns.pop_front()?;
        let entries = self.waiting.get_mut(&client)?;
        let entry = entries.pop_front();
        if entries.is_empty() {
            self.waiting.remove(&client);
        } else {
            self.turns.push_back(client);
        }
        self.len -= usize::from(entry.is_some());
        entry
    }

    /// Takes out all entries for which `unwanted` is true.
    pub(crate) fn extract(&mut self, mut unwanted: impl FnMut(&Entry) -> bool) -> Vec<Entry> {
        let mut taken = Vec::new();
        for entries in self.waiting.values_mut() {
            for entry in std::mem::take(entries) {
                if unwanted(&entry) {
                    taken.push(entry);
                } else {
                    entries.push_back(entry);
                }
            }
        }
        self.waiting.retain(|_, entries| !entries.is_empty());
        self.turns.retain(|client| self.waiting.contains_key(client));
        self.len -= taken.len();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(mut queue: FairQueue<&'static str, u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn clients_take_turns_and_each_keeps_its_order() {
        let mut queue = FairQueue::new(9);
        for (client, entry) in [("a", 1), ("a", 2), ("a", 3), ("b", 10), ("c", 20), ("b", 11)] {
            queue.push(client, entry).unwrap();
        }
        assert_eq!(queue.peek(), Some(&1));
        assert_eq!(drained(queue), [1, 10, 20, 2, 11, 3]);
    }

    #[test]
    fn a_full_queue_returns_the_entry() {
        let mut queue = FairQueue::new(2);
        assert_eq!(queue.push("a", 1), Ok(()));
        assert_eq!(queue.push("b", 2), Ok(()));
        assert_eq!(queue.push("c", 3), Err(3));
        queue.pop();
        assert_eq!(queue.push("c", 3), Ok(()));
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn who_has_most_entries_makes_room_for_others() {
        let mut queue = FairQueue::new(3);
        for entry in [1, 2, 3] {
            queue.push("a", entry).unwrap();
        }
        assert_eq!(queue.make_room(&"a"), None);
        assert_eq!(queue.make_room(&"b"), Some(3));
        queue.push("b", 10).unwrap();
        assert_eq!(queue.make_room(&"b"), None, "one more is no reason");
        assert_eq!(queue.make_room(&"c"), Some(2));
        queue.push("c", 20).unwrap();
        assert_eq!(queue.make_room(&"d"), None);
        assert_eq!(drained(queue), [1, 10, 20]);
    }

    #[test]
    fn extracting_entries_keeps_the_turns_of_the_others() {
        let mut queue = FairQueue::new(9);
        for (client, entry) in [("a", 1), ("b", 10), ("b", 11), ("c", 20)] {
            queue.push(client, entry).unwrap();
        }
        let mut taken = queue.extract(|&entry| entry < 11);
        taken.sort_unstable();
        assert_eq!(taken, [1, 10]);
        assert_eq!(queue.len(), 2);
        assert_eq!(drained(queue), [11, 20]);
    }
}
