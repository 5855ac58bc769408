//! The last events of topics in Redis.

use redis::{RedisResult, Value};

use super::feed::FeedPage;
use super::link::RedisLink;
use super::protocol::{array, is_forbidden, not_understood, parse_entries};
use crate::event_log::broker::{LastPage, WindowLimits};
use crate::event_log::{Logged, Topic, Topics};

impl RedisLink {
    /// Events of topics, back from a sequence. Those of patterns are the ones that the feed names.
    pub(super) async fn try_last(
        &self,
        topics: &Topics,
        up_to: u64,
        limits: WindowLimits,
    ) -> RedisResult<LastPage> {
        let names: Vec<_> = topics.names().collect();
        match self.page_of_last(&names, topics, up_to, limits).await {
            Err(error) if is_forbidden(&error) && !names.is_empty() => {}
            page => return page,
        }
        // What the user may not read is not there for this log. The answer was not about one topic.
        let (mut readable, one) = (Vec::new(), WindowLimits { events: 0, bytes: 0 });
        for name in names {
            match self.page_of_last(&[name], topics, up_to, one).await {
                Err(error) if is_forbidden(&error) => {}
                page => readable.extend(page.map(|_| name)),
            }
        }
        self.page_of_last(&readable, topics, up_to, limits).await
    }

    async fn page_of_last(
        &self,
        names: &[&Topic],
        topics: &Topics,
        up_to: u64,
        limits: WindowLimits,
    ) -> RedisResult<LastPage> {
        let keys = &self.keys;
        let mut call = self.scripts.last.key(&*keys.feed);
        for name in names {
            call.key(keys.last(name)).key(keys.topic(name));
        }
        match up_to {
            u64::MAX => call.arg("+"),
            sequence => call.arg(sequence),
        };
        call.arg(limits.events).arg(limits.bytes).arg(&*keys.topics).arg(MAX_LOOKS);
        for pattern in topics.expressions('%') {
            call.arg(pattern);
        }
        let mut lease = self.replays.get().await?;
        let page = call.invoke_async::<(Vec<Value>, Option<u64>)>(&mut lease.connection).await;
        let (entries, more_up_to) = self.replays.note(&lease, page)?;
        let mut events = Vec::with_capacity(entries.len());
        for entry in entries {
            events.extend(event(entry, names)?);
        }
        Ok(LastPage { events, more_up_to })
    }
}

/// An entry with the number of its name; `None` if it is a foreign one, or if its topic does not
/// have the event any more.
fn event(numbered: Value, names: &[&Topic]) -> RedisResult<Option<Logged>> {
    let numbered = array(numbered).and_then(|it| <[Value; 2]>::try_from(it).ok());
    let Some([Value::Int(number), entry]) = numbered else {
        return Err(not_understood());
    };
    let name = usize::try_from(number - 1).ok().and_then(|at| names.get(at));
    let parsed = match name {
        Some(name) => parse_entries([entry].into_iter(), name)?,
        None => FeedPage::of_entries(vec![entry])?.into_events(),
    };
    Ok(parsed.events.into_iter().next().map(|event| event.logged))
}

/// How many entries of the feed Redis looks at for one request, while which it does nothing else.
const MAX_LOOKS: usize = 1024;
