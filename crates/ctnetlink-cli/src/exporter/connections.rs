//! Which connections stay open: a few hundred, the useful ones.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::lock;

/// At most so many. A descriptor each, of the 1,024 that a process usually has.
const MOST: usize = 256;
/// How long a new connection has for its first request.
const FIRST: Duration = Duration::from_secs(10);
/// How long a request may take, until the reader has read the answer.
const REQUEST: Duration = Duration::from_secs(30);
/// How long a connection that has been useful may rest: longer than any scrape interval.
const REST: Duration = Duration::from_secs(900);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing has come yet.
    New,
    Busy,
    /// It has asked something, but no metrics yet.
    Idle,
    /// It has had metrics: a scraper.
    Resting,
}

#[derive(Debug)]
struct Connection {
    state: State,
    since: Instant,
    close: Arc<Notify>,
}

impl Connection {
    fn is_late(&self, now: Instant) -> bool {
        let limit = match self.state {
            State::New | State::Idle => FIRST,
            State::Busy => REQUEST,
            State::Resting => REST,
        };
        now.saturating_duration_since(self.since) > limit
    }
}

/// All connections.
#[derive(Debug, Clone, Default)]
pub(super) struct Connections(Arc<Mutex<HashMap<u64, Connection>>>);

impl Connections {
    /// Adds one, which ends when it is notified. If there are too many, the oldest of those that have had no
    /// metrics yet is closed; if all have, the new one is refused: scrapers stay.
    pub(super) fn add(&self, id: u64) -> Option<Arc<Notify>> {
        let close = Arc::new(Notify::new());
        let mut all = lock(&self.0);
        if all.len() >= MOST {
            let spare = all.iter().filter(|(_, c)| matches!(c.state, State::New | State::Idle));
            let victim = spare.min_by_key(|(_, c)| c.since).map(|(id, _)| *id)?;
            if let Some(victim) = all.remove(&victim) {
                victim.close.notify_one();
            }
        }
        let (state, since) = (State::New, Instant::now());
        all.insert(id, Connection { state, since, close: Arc::clone(&close) });
        Some(close)
    }

    pub(super) fn remove(&self, id: u64) {
        lock(&self.0).remove(&id);
    }

    pub(super) fn begins(&self, id: u64) {
        self.enter(id, State::Busy);
    }

    /// It waits for the next request, after metrics or something else.
    pub(super) fn rests(&self, id: u64, metrics: bool) {
        self.enter(id, if metrics { State::Resting } else { State::Idle });
    }

    fn enter(&self, id: u64, state: State) {
        if let Some(connection) = lock(&self.0).get_mut(&id) {
            (connection.state, connection.since) = (state, Instant::now());
        }
    }

    /// Closes those that take too long.
    pub(super) fn close_late(&self) {
        let now = Instant::now();
        let mut all = lock(&self.0);
        all.retain(|_, connection| {
            let late = connection.is_late(now);
            if late {
                connection.close.notify_one();
            }
            !late
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrapers_stay() {
        let connections = Connections::default();
        for id in 0..MOST as u64 {
            assert!(connections.add(id).is_some());
        }
        connections.begins(0);
        connections.rests(0, true);
        connections.begins(1);
        connections.rests(1, false);
        for id in 1000..1000 + 2 * MOST as u64 {
            assert!(connections.add(id).is_some());
        }
        assert_eq!(lock(&connections.0).len(), MOST);
        assert!(lock(&connections.0).contains_key(&0), "it has had metrics");
        assert!(!lock(&connections.0).contains_key(&1), "it has not");
        let all: Vec<_> = lock(&connections.0).keys().copied().collect();
        all.iter().for_each(|id| connections.rests(*id, true));
        assert!(connections.add(9999).is_none(), "all are scrapers");
        assert_eq!(lock(&connections.0).len(), MOST);
    }

    #[test]
    fn those_that_take_too_long_are_late() {
        let close = Arc::new(Notify::new());
        let since = Instant::now();
        for (state, limit) in [
            (State::New, FIRST),
            (State::Idle, FIRST),
            (State::Busy, REQUEST),
            (State::Resting, REST),
        ] {
            let connection = Connection { state, since, close: Arc::clone(&close) };
            assert!(!connection.is_late(since + limit));
            assert!(connection.is_late(since + limit + Duration::from_secs(1)));
        }
    }
}
