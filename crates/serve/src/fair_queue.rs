//! Bounded queue that gives its clients equal shares of the work, whatever they ask for.
//!
//! Each client has an account of the work that was done for it; the next entry is one of the client with the least, as the
//! virtual token counter does (Sheng et al., "Fairness in Serving Large Language Models", OSDI 2024, section 4). Addresses
//! share first, then the users that an address names: inventing names wins nothing.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;

/// Address of a client, and the user that its request names, if any.
pub(crate) type Client = (IpAddr, String);

/// Members with nothing waiting whose accounts are kept.
const REMEMBERED: usize = 256;

/// Entries that wait, by address and user. Numbers tell the order of arrival.
#[derive(Debug)]
pub(crate) struct FairQueue<Entry> {
    capacity: usize,
    len: usize,
    arrivals: u64,
    addresses: Shares<IpAddr, Shares<String, VecDeque<(u64, Entry)>>>,
}

/// Members that share work, each with what waits for it.
#[derive(Debug)]
struct Shares<Key, Waiting> {
    /// Account of the member that was served last: whoever stayed away has not saved anything up.
    floor: u64,
    members: HashMap<Key, Member<Waiting>>,
}

#[derive(Debug)]
struct Member<Waiting> {
    work: u64,
    waiting: Waiting,
}

/// What waits, at either level.
trait Waiting: Default {
    fn len(&self) -> usize;
    /// Returns the number of the oldest entry.
    fn oldest(&self) -> Option<u64>;
}

impl<Entry> Waiting for VecDeque<(u64, Entry)> {
    fn len(&self) -> usize {
        self.len()
    }

    fn oldest(&self) -> Option<u64> {
        self.front().map(|&(number, _)| number)
    }
}

impl<Key, W: Waiting> Waiting for Shares<Key, W> {
    fn len(&self) -> usize {
        self.members.values().map(|member| member.waiting.len()).sum()
    }

    fn oldest(&self) -> Option<u64> {
        self.members.values().filter_map(|member| member.waiting.oldest()).min()
    }
}

impl<Key, W> Default for Shares<Key, W> {
    fn default() -> Self {
        Self { floor: 0, members: HashMap::new() }
    }
}

impl<Key: Clone + Eq + Hash, W: Waiting> Shares<Key, W> {
    fn member(&mut self, key: &Key) -> &mut Member<W> {
        if self.members.len() > REMEMBERED && !self.members.contains_key(key) {
            self.members.retain(|_, member| member.waiting.oldest().is_some());
        }
        let member =
            self.members.entry(key.clone()).or_insert_with(|| Member { work: 0, waiting: W::default() });
        member.work = member.work.max(self.floor);
        member
    }

    /// Returns whose turn it is.
    fn next(&self) -> Option<&Key> {
        let waiting = self
            .members
            .iter()
            .filter_map(|(key, member)| Some(((member.work, member.waiting.oldest()?), key)));
        waiting.min_by_key(|&(order, _)| order).map(|(_, key)| key)
    }

    /// Begins the turn of the next member.
    fn serve(&mut self) -> Option<(Key, &mut W)> {
        let key = self.next()?.clone();
        let member = self.members.get_mut(&key)?;
        self.floor = self.floor.max(member.work);
        Some((key, &mut member.waiting))
    }

    /// Returns what waits for the member that has most entries, where that is more than `bound`.
    fn crowd(&mut self, bound: usize) -> Option<&mut W> {
        let most = self.members.values_mut().max_by_key(|member| member.waiting.len())?;
        (most.waiting.len() > bound).then_some(&mut most.waiting)
    }

    fn waiting(&self, key: &Key) -> usize {
        self.members.get(key).map_or(0, |member| member.waiting.len())
    }
}

impl<Entry> FairQueue<Entry> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, len: 0, arrivals: 0, addresses: Shares::default() }
    }

    /// Returns the number of entries.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds an entry, or gives it back when the queue is full.
    pub(crate) fn push(&mut self, (address, user): &Client, entry: Entry) -> Result<(), Entry> {
        if self.len >= self.capacity {
            return Err(entry);
        }
        self.arrivals += 1;
        let users = &mut self.addresses.member(address).waiting;
        users.member(user).waiting.push_back((self.arrivals, entry));
        self.len += 1;
        Ok(())
    }

    /// Adds to the work that was done for a client.
    pub(crate) fn charge(&mut self, (address, user): &Client, work: u64) {
        let member = self.addresses.member(address);
        member.work += work;
        member.waiting.member(user).work += work;
    }

    /// Takes the newest entry of the address that has most of them, where that is at least two more than the client's, and
    /// there of the user who has most; else so among the users of the client's address. Who fills the queue does not shut
    /// others out.
    pub(crate) fn make_room(&mut self, (address, user): &Client) -> Option<Entry> {
        let own = self.addresses.waiting(address);
        let entries = if let Some(users) = self.addresses.crowd(own + 1) {
            users.crowd(0)
        } else {
            let users = &mut self.addresses.members.get_mut(address)?.waiting;
            let own = users.waiting(user);
            users.crowd(own + 1)
        };
        let (_, entry) = entries?.pop_back()?;
        self.len -= 1;
        Some(entry)
    }

    /// Returns the next entry.
    pub(crate) fn peek(&self) -> Option<&Entry> {
        let users = &self.addresses.members.get(self.addresses.next()?)?.waiting;
        users.members.get(users.next()?)?.waiting.front().map(|(_, entry)| entry)
    }

    /// Takes the next entry.
    pub(crate) fn pop(&mut self) -> Option<(Client, Entry)> {
        let (address, users) = self.addresses.serve()?;
        let (user, entries) = users.serve()?;
        let (_, entry) = entries.pop_front()?;
        self.len -= 1;
        Some(((address, user), entry))
    }

    /// Takes out all entries for which `unwanted` is true.
    pub(crate) fn extract(&mut self, unwanted: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let mut taken = Vec::new();
        let users =
            self.addresses.members.values_mut().flat_map(|member| member.waiting.members.values_mut());
        for Member { waiting, .. } in users {
            if waiting.iter().any(|(_, entry)| unwanted(entry)) {
                let (out, kept) = std::mem::take(waiting).into_iter().partition(|(_, entry)| unwanted(entry));
                *waiting = kept;
                taken.extend(VecDeque::into_iter(out).map(|(_, entry)| entry));
            }
        }
        self.len -= taken.len();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `"2b"` is user `b` of the second address.
    fn client(name: &str) -> Client {
        let (address, user) = name.split_at(1);
        ([10, 0, 0, address.parse().unwrap()].into(), user.to_owned())
    }

    fn queue(capacity: usize, entries: &[(&str, u32)]) -> FairQueue<u32> {
        let mut queue = FairQueue::new(capacity);
        for &(name, entry) in entries {
            queue.push(&client(name), entry).unwrap();
        }
        queue
    }

    /// Takes everything out; each entry costs what `work` says.
    fn drained(mut queue: FairQueue<u32>, work: impl Fn(u32) -> u64) -> Vec<u32> {
        let next = || {
            let peeked = queue.peek().copied();
            let (client, entry) = queue.pop()?;
            assert_eq!(peeked, Some(entry));
            queue.charge(&client, work(entry));
            Some(entry)
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn addresses_take_turns_and_each_keeps_its_order() {
        let queue = queue(9, &[("1", 1), ("1", 2), ("1", 3), ("2", 10), ("3", 20), ("2", 11)]);
        assert_eq!(drained(queue, |_| 1), [1, 10, 20, 2, 11, 3]);
    }

    #[test]
    fn an_entry_that_costs_as_much_as_three_gives_three_turns_away() {
        let queue = queue(9, &[("1", 1), ("1", 2), ("2", 10), ("2", 11), ("2", 12), ("2", 13)]);
        assert_eq!(drained(queue, |entry| if entry < 10 { 3 } else { 1 }), [1, 10, 11, 12, 2, 13]);
    }

    #[test]
    fn an_address_wins_nothing_by_naming_users_who_share_what_it_has() {
        let queue = queue(9, &[("1a", 1), ("1b", 2), ("1c", 3), ("1a", 4), ("2", 10), ("2", 11)]);
        assert_eq!(drained(queue, |_| 1), [1, 10, 2, 11, 3, 4]);
    }

    #[test]
    fn who_stayed_away_has_saved_nothing_up() {
        let mut queue = queue(9, &[("1", 1), ("1", 2), ("1", 3)]);
        for _ in 0..2 {
            let (client, _) = queue.pop().unwrap();
            queue.charge(&client, 10);
        }
        for entry in [10, 11, 12] {
            queue.push(&client("2"), entry).unwrap();
        }
        assert_eq!(
            drained(queue, |_| 10),
            [10, 3, 11, 12],
            "one turn after another, not all of the newcomer's first"
        );
    }

    #[test]
    fn accounts_are_bounded_in_number() {
        let mut queue = FairQueue::new(2);
        for number in 0..2000_u32 {
            let client = (IpAddr::from(number.to_be_bytes()), String::new());
            queue.charge(&client, 5);
            queue.charge(&([10, 0, 0, 1].into(), number.to_string()), 5);
            queue.push(&client, number).unwrap();
            queue.pop();
        }
        assert!(queue.addresses.members.len() <= REMEMBERED + 2, "{}", queue.addresses.members.len());
        let most = queue.addresses.members.values().map(|member| member.waiting.members.len()).max();
        assert!(most <= Some(REMEMBERED + 2), "{most:?}");
    }

    #[test]
    fn a_full_queue_returns_the_entry() {
        let mut queue = queue(2, &[("1", 1), ("2", 2)]);
        assert_eq!(queue.push(&client("3"), 3), Err(3));
        queue.pop();
        assert_eq!(queue.push(&client("3"), 3), Ok(()));
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn who_has_most_entries_makes_room_for_others() {
        let mut full = queue(3, &[("1", 1), ("1", 2), ("1", 3)]);
        assert_eq!(full.make_room(&client("1")), None);
        assert_eq!(full.make_room(&client("2")), Some(3));
        full.push(&client("2"), 10).unwrap();
        assert_eq!(full.make_room(&client("2")), None, "one more is no reason");
        assert_eq!(full.make_room(&client("3")), Some(2));
        full.push(&client("3"), 20).unwrap();
        assert_eq!(full.make_room(&client("4")), None);
        assert_eq!(drained(full, |_| 1), [1, 10, 20]);
    }

    #[test]
    fn an_address_that_names_a_user_for_each_entry_makes_room_too() {
        let mut full = queue(3, &[("1a", 1), ("1b", 2), ("1c", 3)]);
        assert_eq!(full.make_room(&client("1d")), None);
        assert!(full.make_room(&client("2")).is_some());
        let mut full = queue(3, &[("1a", 1), ("1a", 2), ("1a", 3)]);
        assert_eq!(full.make_room(&client("1b")), Some(3), "a user makes room for another of the address");
    }

    #[test]
    fn extracting_entries_keeps_the_turns_of_the_others() {
        let mut queue = queue(9, &[("1", 1), ("2", 10), ("2", 11), ("3", 20)]);
        let mut taken = queue.extract(|&entry| entry < 11);
        taken.sort_unstable();
        assert_eq!(taken, [1, 10]);
        assert_eq!(queue.len(), 2);
        assert_eq!(drained(queue, |_| 1), [11, 20]);
    }
}
