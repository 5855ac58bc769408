//! A window against the naive model: a list of all events that ever were, and a storage that has
//! some of them.

use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::cursor::AfterGap;
use super::position_after_gap;
use super::{Appended, Cursor, Entry, Found, Placement, Remaining, Window};
use crate::event_log::{GapReason, Start};
use crate::wire::EventId;

/// An event of one byte a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Number {
    epoch: u64,
    sequence: u64,
    before: u64,
    /// Whether the log stores predecessors, as Redis does, or vouches for them, as NATS does.
    chained: bool,
    finishes: bool,
}

impl Entry for Number {
    fn sequence(&self) -> u64 {
        self.sequence
    }

    fn before(&self) -> Option<u64> {
        self.chained.then_some(self.before)
    }

    fn size(&self) -> usize {
        1
    }

    fn finishes_topic(&self) -> bool {
        self.finishes
    }
}

#[derive(Clone, Debug)]
enum Act {
    /// An event whose sequence is so much larger than the last one.
    Append(u64),
    /// The process reads so many events of those that it has not read.
    Poll(usize),
    /// It misses so many, as one that was away.
    Miss(usize),
    /// It reads so many again, as after an answer that was lost.
    Again(usize),
    /// It learns of an event, and not what it is.
    Announce,
    /// It reads so many events that its window does not have yet.
    Load(usize),
    TrimStorage(usize),
    TrimWindow(usize),
    /// The log loses everything, and its sequences begin anew or not.
    Lose(u64),
    /// The log is set back to what it had when it had so many events.
    SetBack(Index),
    /// The process notices that.
    Notice,
    /// It read from a server that may have lacked some events.
    Branch,
    Live,
    Earliest,
    Unknown,
    /// After one of the events of all lives.
    After(Index, Index),
    /// A client takes so many steps, and reads so many events of the storage at once.
    Step(Index, usize, usize),
}

fn act() -> impl Strategy<Value = Act> {
    let any = any::<Index>;
    prop_oneof![
        12 => (1..4_u64).prop_map(Act::Append),
        6 => (1..6_usize).prop_map(Act::Poll),
        2 => (1..4_usize).prop_map(Act::Miss),
        2 => (1..4_usize).prop_map(Act::Again),
        2 => Just(Act::Announce),
        3 => (1..6_usize).prop_map(Act::Load),
        3 => (1..5_usize).prop_map(Act::TrimStorage),
        3 => (0..4_usize).prop_map(Act::TrimWindow),
        1 => (0..20_u64).prop_map(Act::Lose),
        1 => any().prop_map(Act::SetBack),
        2 => Just(Act::Notice),
        1 => Just(Act::Branch),
        2 => Just(Act::Live),
        2 => Just(Act::Earliest),
        1 => Just(Act::Unknown),
        3 => (any(), any()).prop_map(|(life, at)| Act::After(life, at)),
        12 => (any(), 1..6_usize, 1..4_usize)
            .prop_map(|(client, steps, batch)| Act::Step(client, steps, batch)),
    ]
}

/// One life of the log: all events of its topic, of which the storage has those from `kept` on.
#[derive(Clone, Debug)]
struct Life {
    epoch: u64,
    events: Vec<Number>,
    kept: usize,
    /// The last sequence that was given out.
    head: u64,
}

impl Life {
    fn new(epoch: u64, head: u64) -> Self {
        Self { epoch, events: Vec::new(), kept: 0, head }
    }

    /// The index of the first event after a position.
    fn after(&self, position: u64) -> usize {
        self.events.partition_point(|event| event.sequence <= position)
    }

    /// What the storage returns of events after a position.
    fn read(&self, position: u64, most: usize) -> impl Iterator<Item = Number> + '_ {
        self.events[self.after(position).max(self.kept)..].iter().copied().take(most)
    }

    /// The sequence of the last event that the storage lost.
    fn lost(&self) -> u64 {
        self.kept.checked_sub(1).map_or(0, |last| self.events[last].sequence)
    }
}

struct Client {
    cursor: Cursor,
    page: VecDeque<Number>,
    /// The life that the client is in, and the index of the event that it must get next.
    life: usize,
    next: usize,
    /// Events of this index and more may not be missing without a gap.
    asked: usize,
}

struct Model {
    chained: bool,
    lives: Vec<Life>,
    window: Window<Number>,
    /// The life that the process knows, and how many of its events it has read or missed.
    noticed: usize,
    read: usize,
    clients: Vec<Client>,
}

impl Model {
    fn new(chained: bool) -> Self {
        let (lives, clients) = (vec![Life::new(1, 0)], Vec::new());
        Self { chained, lives, window: Window::new(1, 0), noticed: 0, read: 0, clients }
    }

    fn current(&mut self) -> &mut Life {
        self.lives.last_mut().unwrap()
    }

    fn is_noticed(&self) -> bool {
        self.noticed + 1 == self.lives.len()
    }

    fn act(&mut self, act: Act) {
        let chained = self.chained;
        match act {
            Act::Append(step) => {
                let life = self.current();
                let before = life.events.last().map_or(0, |event| event.sequence);
                life.head += step;
                let (epoch, sequence) = (life.epoch, life.head);
                life.events.push(Number { epoch, sequence, before, chained, finishes: false });
            }
            Act::Poll(most) if self.is_noticed() => self.poll(most),
            Act::Miss(count) if self.is_noticed() => {
                self.read = self.current().events.len().min(self.read + count);
            }
            Act::Again(count) => self.read = self.read.saturating_sub(count),
            Act::Announce if self.is_noticed() => {
                if let Some(event) = self.lives[self.noticed].events.get(self.read) {
                    self.window.announce(event.sequence);
                }
            }
            Act::Load(most) if self.is_noticed() => {
                let life = &self.lives[self.noticed];
                // It knows from where on the storage has events.
                let after = self.window.last().max(life.lost());
                if after > self.window.last() {
                    self.window.lose_to(after);
                }
                for event in life.read(after, most) {
                    self.window.append(event);
                }
                self.read = self.read.max(life.after(self.window.last()));
            }
            Act::TrimStorage(count) => {
                let life = self.current();
                life.kept = life.events.len().min(life.kept + count);
            }
            Act::TrimWindow(most) => self.window.trim_to(most, most),
            Act::Lose(head) => {
                let epoch = u64::try_from(self.lives.len()).unwrap() + 1;
                let life = self.current();
                life.kept = life.events.len();
                self.lives.push(Life::new(epoch, head));
            }
            Act::SetBack(to) => {
                let mut life = self.current().clone();
                life.events.truncate(to.index(life.events.len() + 1));
                life.kept = life.kept.min(life.events.len());
                life.head = life.events.last().map_or(0, |event| event.sequence);
                self.lives.push(life);
            }
            Act::Notice if !self.is_noticed() => {
                (self.noticed, self.read) = (self.lives.len() - 1, 0);
                let epoch = self.current().epoch;
                self.window.reset(epoch, 0);
            }
            Act::Branch => {
                self.read = 0;
                self.window.branch();
            }
            Act::Live => self.follow(&Start::Live),
            Act::Earliest => self.follow(&Start::Earliest),
            Act::Unknown => self.follow(&Start::Unknown),
            Act::After(life, at) => {
                let life = &self.lives[life.index(self.lives.len())];
                // A position in a life that was set back looks as one in the next.
                let is_clear = life.epoch != self.lives[self.noticed].epoch
                    || life.events == self.lives[self.noticed].events;
                if is_clear && !life.events.is_empty() {
                    let event = life.events[at.index(life.events.len())];
                    let id = EventId::with_epoch(event.epoch, event.sequence);
                    self.follow(&Start::After(id));
                }
            }
            Act::Step(client, steps, batch) if !self.clients.is_empty() => {
                let at = client.index(self.clients.len());
                for _ in 0..steps {
                    self.step(at, batch);
                }
            }
            _ => {}
        }
    }

    /// Reads the next events. Where they name no predecessor, the process asks what was lost.
    fn poll(&mut self, most: usize) {
        let life = &self.lives[self.noticed];
        for event in life.events.iter().skip(self.read.max(life.kept)).take(most) {
            if !self.chained && event.before > self.window.last() {
                self.window.lose_to(event.before);
            }
            let last = self.window.last();
            let appended = self.window.append(*event);
            let expected = match event {
                event if event.sequence <= last => Appended::Known,
                event if event.before > last => Appended::AfterHole,
                _ => Appended::Next,
            };
            assert_eq!(appended, expected);
            self.read = life.after(event.sequence);
        }
    }

    /// A client comes to the process, which knows what it has noticed.
    fn follow(&mut self, start: &Start) {
        let life = &self.lives[self.noticed];
        let placement = Placement::of(start, life.epoch, life.head).alone();
        let reason = match start {
            Start::After(id) => {
                let epoch = format!("{}-", life.epoch);
                (!id.as_str().starts_with(&epoch)).then_some(GapReason::Restarted)
            }
            Start::Unknown => Some(GapReason::Unknown),
            _ => None,
        };
        let (next, asked) = match placement {
            Placement::After(position) => (life.after(position), 0),
            Placement::Earliest => (0, life.events.len()),
            Placement::Gap(of) => {
                assert_eq!(Some(of), reason);
                (0, life.events.len())
            }
            Placement::Ahead(_) => unreachable!("the log is alone"),
        };
        assert_eq!(matches!(placement, Placement::Gap(_)), reason.is_some());
        let cursor = self.window.start(placement);
        let (page, life) = (VecDeque::new(), self.noticed);
        self.clients.push(Client { cursor, page, life, next, asked });
    }

    /// Takes one event, if there is one, and says whether there was.
    fn step(&mut self, at: usize, batch: usize) -> bool {
        let (noticed, is_noticed) = (self.noticed, self.is_noticed());
        let Self { lives, window, clients, .. } = self;
        let client = &mut clients[at];
        loop {
            if let Some(event) = client.page.pop_front() {
                if event.sequence <= client.cursor.position() || client.life != noticed {
                    continue;
                }
                if let Some(reason) = client.cursor.skip_to(event.before) {
                    client.told(reason, lives, noticed);
                }
                client.gets(event, lives);
                return true;
            }
            match window.find(&client.cursor) {
                Found::Event(event) => {
                    let event = *event;
                    client.gets(event, lives);
                    return true;
                }
                Found::Nothing => return false,
                Found::Below(floor) => {
                    let life = lives.last().unwrap();
                    // A range of the next life is thrown away.
                    if !is_noticed {
                        return false;
                    }
                    client.page = life.read(client.cursor.position(), batch).collect();
                    if client.page.is_empty() {
                        if let Some(reason) = client.cursor.skip_to(floor) {
                            client.told(reason, lives, noticed);
                        }
                        client.next = client.next.max(lives[client.life].after(floor));
                    }
                }
                Found::Moved => {
                    let position = client.cursor.position();
                    let reason = window.renew(&mut client.cursor);
                    if reason == GapReason::Restarted {
                        client.told(reason, lives, noticed);
                    } else {
                        // After a branch. It gets all that there is from here on.
                        assert_eq!((client.cursor.position(), client.life), (position, noticed));
                    }
                }
            }
        }
    }
}

impl Client {
    /// No event is missing before this one, except for those that were lost before the client came
    /// and asked for what there is.
    fn gets(&mut self, event: Number, lives: &[Life]) {
        let life = &lives[self.life];
        let at = life.events.iter().position(|it| *it == event).expect("an event of this life");
        assert!(at >= self.next, "it has had it");
        for missing in self.next..at {
            assert!(missing < self.asked && missing < life.kept, "{missing} is missing");
        }
        self.cursor.advance(event.sequence);
        (self.next, self.asked) = (at + 1, 0);
    }

    /// The reason is true, and nothing that there is is passed over.
    fn told(&mut self, reason: GapReason, lives: &[Life], noticed: usize) {
        if reason == GapReason::Restarted {
            assert!(noticed > self.life, "nothing was restarted");
            (self.life, self.next) = (noticed, 0);
            self.asked = lives[noticed].events.len();
            return;
        }
        let life = &lives[self.life];
        assert_eq!(reason, GapReason::Expired);
        assert!(self.next < life.kept, "nothing was lost");
        let next = life.after(self.cursor.position());
        assert!(next <= life.kept, "an event that there is is passed over");
        self.next = self.next.max(next);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn clients_see_each_event_once_or_are_told_why_not(
        chained in any::<bool>(),
        acts in vec(act(), 1..60),
    ) {
        let mut model = Model::new(chained);
        for act in acts {
            model.act(act);
            let window = &model.window;
            prop_assert_eq!(window.bytes(), window.len());
        }
        // In the end the process knows all that there is, and so does each client.
        model.act(Act::Notice);
        model.act(Act::Load(usize::MAX));
        model.act(Act::Poll(usize::MAX));
        let last = model.lives.len() - 1;
        for at in 0..model.clients.len() {
            while model.step(at, 2) {}
            let client = &model.clients[at];
            prop_assert_eq!((client.life, client.next), (last, model.lives[last].events.len()));
        }
    }
}

fn event(before: u64, sequence: u64) -> Number {
    Number { epoch: 7, sequence, before, chained: true, finishes: false }
}

#[test]
fn a_client_is_put_where_the_table_says() {
    let after = |id: &str| Start::After(EventId::new(id).unwrap());
    let (restarted, unknown) = (GapReason::Restarted, GapReason::Unknown);
    #[rustfmt::skip]
    let table = [
        (Start::Live,       Placement::After(20)),
        (Start::Now,        Placement::After(20)),
        (Start::Earliest,   Placement::Earliest),
        (Start::Unknown,    Placement::Gap(unknown)),
        (after("7-12"),     Placement::After(12)),
        (after("7-12b"),    Placement::After(11)),
        (after("7-20"),     Placement::After(20)),
        (after("7-21"),     Placement::Ahead(21)),
        (after("6-12"),     Placement::Gap(restarted)),
        (after("6-12b"),    Placement::Gap(restarted)),
        (after("7"),        Placement::Gap(unknown)),
        (after("7-012"),    Placement::Gap(unknown)),
    ];
    for (start, expected) in table {
        assert_eq!(Placement::of(&start, 7, 20), expected, "{start:?}");
    }
    assert_eq!(Placement::Ahead(21).alone(), Placement::Gap(unknown));
}

/// What a window says to a client, by what it has and where the client is.
#[test]
fn what_is_lost_is_told_as_the_table_says() {
    let expired = Some(GapReason::Expired);
    #[rustfmt::skip]
    let table = [
        // floor, events, start,                 the gap,  the next event
        (0,  &[3, 5][..], Placement::Earliest,   None,     Some(3)),
        (0,  &[3, 5][..], Placement::After(0),   None,     Some(3)),
        (0,  &[3, 5][..], Placement::After(3),   None,     Some(5)),
        (0,  &[3, 5][..], Placement::After(4),   None,     Some(5)),
        (0,  &[3, 5][..], Placement::After(9),   None,     None),
        (2,  &[3, 5][..], Placement::Earliest,   None,     Some(3)),
        (2,  &[3, 5][..], Placement::After(1),   expired,  Some(3)),
        (2,  &[3, 5][..], Placement::After(2),   None,     Some(3)),
        (2,  &[][..],     Placement::After(1),   expired,  None),
        (2,  &[][..],     Placement::After(2),   None,     None),
        (2,  &[][..],     Placement::Earliest,   None,     None),
    ];
    for (floor, sequences, placement, gap, next) in table {
        let mut window = Window::new(7, floor);
        let mut before = floor;
        for sequence in sequences {
            assert_eq!(window.append(event(before, *sequence)), Appended::Next);
            before = *sequence;
        }
        let mut cursor = window.start(placement);
        // The storage has nothing, as with a log in memory.
        let told = match window.find(&cursor) {
            Found::Below(floor) => cursor.skip_to(floor),
            _ => None,
        };
        assert_eq!(told, gap, "{floor} {sequences:?} {placement:?}");
        let found = match window.find(&cursor) {
            Found::Event(event) => Some(event.sequence),
            Found::Nothing => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(found, next, "{floor} {sequences:?} {placement:?}");
    }
}

#[test]
fn events_that_came_after_a_client_are_not_lost_silently_though_it_asked_for_what_there_is() {
    let mut window = Window::new(7, 10);
    let mut cursor = window.start(Placement::Earliest);
    assert!(matches!(window.find(&cursor), Found::Below(10)));
    window.append(event(10, 20));
    window.append(event(20, 30));
    window.trim_to(1, 100);
    let Found::Below(floor) = window.find(&cursor) else { panic!("it is below") };
    assert_eq!((floor, cursor.skip_to(floor)), (20, Some(GapReason::Expired)));
}

#[test]
fn a_window_is_behind_until_it_has_what_was_announced() {
    let mut window = Window::new(7, 0);
    window.append(event(0, 1));
    window.announce(3);
    assert!(window.is_behind());
    assert!(matches!(window.find(&window.start(Placement::After(1))), Found::Nothing));
    window.append(event(1, 2));
    assert!(window.is_behind());
    window.append(event(2, 3));
    assert!(!window.is_behind());
    // What was announced and cannot be had is lost.
    window.announce(9);
    window.lose_to(9);
    assert!(!window.is_behind());
    assert!(matches!(window.find(&window.start(Placement::After(3))), Found::Below(9)));
    // An event that does not follow what is here takes its place.
    window.append(event(9, 10));
    assert_eq!(window.append(event(15, 16)), Appended::AfterHole);
    assert_eq!((window.len(), window.floor()), (1, 15));
}

#[test]
fn a_client_after_the_end_of_a_topic_gets_the_end() {
    let mut window = Window::new(7, 1);
    assert_eq!(window.before_end(9), 9);
    for before in 1..4 {
        window.append(Number { finishes: before == 3, ..event(before, before + 1) });
    }
    #[rustfmt::skip]
    let table = [(1, 1), (2, 2), (3, 3), (4, 3), (9, 3)];
    for (position, expected) in table {
        assert_eq!(window.before_end(position), expected);
    }
    window.trim_to(1, 1);
    assert_eq!(window.before_end(9), 3);
    window.append(event(4, 5));
    assert_eq!(window.before_end(9), 9);
}

#[test]
fn a_position_is_found_by_few_steps_and_is_that_of_a_search_from_the_start() {
    for count in 0..40_u64 {
        let mut window = Window::new(7, 0);
        for n in 1..=count {
            window.append(event(2 * n - 2, 2 * n));
        }
        for position in 0..2 * count + 3 {
            let naive = (1..=count).map(|n| 2 * n).find(|sequence| *sequence > position);
            let found = window.after(position).next().map(|event| event.sequence);
            assert_eq!(found, naive, "{count} {position}");
            let up_to = window.up_to(position).map(|event| event.sequence);
            assert_eq!(up_to, (1..=count).map(|n| 2 * n).rfind(|it| *it <= position));
        }
    }
}

#[test]
fn a_gap_names_the_last_position_before_what_is_left() {
    let topic = |before, events| Remaining { before, events };
    let after = |position, earliest, latest| Some(AfterGap { position, earliest, latest });
    #[rustfmt::skip]
    let table = [
        (&[topic(4, Some((5, 9)))][..],                       0, after(4, 5, 9)),
        // Not before what the client has had, and nothing of it is skipped.
        (&[topic(1, Some((5, 9)))][..],                       3, after(3, 5, 9)),
        (&[topic(4, Some((5, 9))), topic(7, Some((8, 8)))][..], 0, after(4, 5, 9)),
        (&[topic(4, Some((9, 9))), topic(7, Some((8, 12)))][..], 0, after(7, 8, 12)),
        (&[topic(4, None), topic(2, Some((5, 5)))][..],       0, after(4, 5, 5)),
        (&[topic(4, None)][..],                               0, None),
        (&[][..],                                             0, None),
    ];
    for (topics, delivered, expected) in table {
        assert_eq!(position_after_gap(topics, delivered), expected, "{topics:?}");
    }
}
