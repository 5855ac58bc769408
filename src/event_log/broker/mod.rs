//! What logs of brokers have in common: one reader fills a window a topic, and any number of
//! followers read from there.
//!
//! A [`Source`] is what a broker's own code has to do. Sequences are in one order over all topics,
//! and an [`Entry`] names the sequence that was before it in its topic. So a follower at any place
//! knows whether something is missing in front of an entry, wherever the entry comes from: the
//! window, a page of the broker's, or a reader that was away for a time. There is no other way in
//! which a loss is noticed.

mod cell;
mod entry;
mod follower;
mod member;
#[cfg(test)]
mod tests;
mod upstream;

pub(super) use cell::{Cell, Loaded};
pub(super) use entry::Entry;
pub(super) use follower::BrokerFollower;
pub(super) use upstream::{Limits, Source, Upstream, Wait};
