//! The decoder reads streams as the specification says, however they are cut.

use proptest::prelude::*;
use tower_sse::wire::Decoder;

use crate::harness::cases;
use crate::harness::support::{Interpreted, cut, cuts, interpret, stream};

#[test]
fn no_case_is_lost() {
    let cases = cases::wire();
    assert_eq!(cases.len(), 124);
    assert_eq!(cases.iter().filter(|case| case.chunks.len() > 1).count(), 21);
    assert_eq!(cases.iter().map(|case| case.expected.events.len()).sum::<usize>(), 348);
}

#[test]
fn the_oracle_reads_every_case() {
    for case in cases::wire() {
        assert_eq!(interpret(&case.stream), case.expected, "{}", case.name);
    }
}

#[test]
fn the_decoder_reads_every_case() {
    for case in cases::wire() {
        assert_eq!(decode(&[&case.stream]), case.expected, "{}", case.name);
    }
}

#[test]
fn the_decoder_reads_every_case_in_its_chunks() {
    for case in cases::wire() {
        assert_eq!(decode(&case.chunks), case.expected, "{}", case.name);
    }
}

#[test]
fn the_decoder_reads_every_case_byte_by_byte() {
    for case in cases::wire() {
        let bytes: Vec<&[u8]> = case.stream.chunks(1).collect();
        assert_eq!(decode(&bytes), case.expected, "{}", case.name);
    }
}

#[test]
fn the_decoder_reads_every_case_cut_in_two() {
    for case in cases::wire() {
        // All places in the two streams of many kilobytes would take minutes.
        let step = if case.stream.len() < 4096 { 1 } else { 97 };
        for at in (0..=case.stream.len()).step_by(step) {
            let (head, tail) = case.stream.split_at(at);
            assert_eq!(decode(&[head, tail]), case.expected, "{} at {at}", case.name);
        }
    }
}

#[test]
fn a_retry_that_no_integer_can_hold_is_ignored() {
    let seen = decode(&["retry: 5\nretry: 18446744073709551616\nretry:\nretry: +6\n"]);
    assert_eq!(seen.retry, Some(5));
    let seen = decode(&["retry: 18446744073709551615\n"]);
    assert_eq!(seen.retry, Some(u64::MAX));
}

proptest! {
    #[test]
    fn the_decoder_agrees_with_the_specification(stream in stream(), cuts in cuts()) {
        prop_assert_eq!(decode(&cut(&stream, &cuts)), interpret(&stream));
    }
}

fn decode(chunks: &[impl AsRef<[u8]>]) -> Interpreted {
    let mut decoder = Decoder::new();
    let events = chunks.iter().flat_map(|chunk| decoder.decode(chunk.as_ref()));
    let events = events.map(|event| (event.event, event.data, event.last_event_id)).collect();
    Interpreted {
        events,
        last_event_id: decoder.last_event_id().to_owned(),
        retry: decoder.retry().map(|delay| u64::try_from(delay.as_millis()).unwrap()),
    }
}
