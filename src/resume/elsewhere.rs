//! Streams of other nodes, found in a log that all of them share.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use http::Response;
use tokio::time::{Instant, timeout_at};

use super::body::ResumeBody;
use super::head::Head;
use super::mark::{Kind, Mark};
use super::shared::{Asked, Shared, go_on};
use super::token::Part;
use crate::event_log::{EventLog, Follow, Start, Step};
use crate::wire::Decoder;

/// The answer to one that comes back to a stream of another node. It takes the same time for a stream
/// that is another principal's as for one that never was: both have no topic for who asks.
pub(super) async fn look<B, L: EventLog>(
    shared: Arc<Shared<L>>,
    asked: Asked,
) -> Option<Response<ResumeBody<B, L>>> {
    let (token, id) = asked.at.clone()?;
    let until = Instant::now().checked_add(shared.settings.elsewhere)?;
    let log = shared.settings.log()?;

    let heads = token.topic(&asked.owner, Part::Head)?;
    let mut follower = Box::pin(log.follow(heads.into(), Start::Earliest));
    let head = head(&timeout_at(until, next(follower.as_mut())).await.ok()??)?;

    let events = token.topic(&asked.owner, Part::Events)?;
    let mut follower = Box::pin(log.follow(events.into(), Start::After(id.clone())));
    // If there is none in that time, it will come.
    let first = timeout_at(until, next(follower.as_mut())).await.ok().flatten();
    go_on(&asked, &head, follower, first, None)
}

/// The next step that tells anything.
async fn next<F: Follow>(mut follower: Pin<&mut F>) -> Option<Step> {
    loop {
        let step = poll_fn(|cx| follower.as_mut().poll_next(cx)).await?;
        let is_nothing = match &step {
            Step::Event(event) => Mark::of(event).is_none_or(|(mark, _)| mark.kind == Kind::Look),
            Step::Gap(_) => false,
        };
        if !is_nothing {
            return Some(step);
        }
    }
}

fn head(step: &Step) -> Option<Head> {
    let Step::Event(event) = step else {
        return None;
    };
    let (_, rest) = Mark::of(event).filter(|(mark, _)| mark.kind == Kind::Head)?;
    let events = Decoder::new().decode(&rest);
    Head::from_text(&events.first()?.data)
}
