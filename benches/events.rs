//! Nanoseconds an event costs: a bare body, the crate's layers each alone and all together, and
//! axum's own `Sse`.
//!
//! ```text
//! cargo bench --bench events
//! ```
//!
//! Machines are noisy, so only ratios within one run mean anything; `instructions` counts instead.

mod support;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use support::{Boxed, Pace, PassThrough, STACKS, Source, Stack, axum_sse, boxed, poll, runtime};

const SIZES: [usize; 4] = [64, 256, 4 * 1024, 64 * 1024];

/// One event a frame, sixteen, and one event over four frames.
fn events(c: &mut Criterion) {
    for (shape, frames, events) in [("one", 1, 1), ("sixteen", 1, 16), ("split", 4, 1)] {
        for size in SIZES {
            let mut group = c.benchmark_group(format!("{shape}/{size}"));
            group.throughput(Throughput::Elements(events as u64));
            let source = || match shape {
                "split" => boxed(Source::split(size, frames, Pace::Burst)),
                _ => boxed(Source::of(size, events, Pace::Burst)),
            };
            // What is added to a large event leaves in a frame of its own, so bytes are counted.
            let bytes = size * events;
            let mut measure = |name: &str, mut body: Boxed| {
                group.bench_function(BenchmarkId::from_parameter(name), |b| {
                    b.iter(|| {
                        let mut sent = 0;
                        while sent < bytes {
                            sent += black_box(poll(&mut body));
                        }
                    });
                });
            };
            let runtime = runtime();
            let _context = runtime.enter();
            measure("bare", source());
            measure("empty middleware", boxed(PassThrough(source())));
            for name in STACKS {
                let stack = Stack::named(name);
                measure(name, boxed(stack.body(source())));
            }
            if shape == "one" {
                measure("axum Sse", boxed(axum_sse(size, false)));
                measure("axum Sse with KeepAlive", boxed(axum_sse(size, true)));
            }
        }
    }
}

criterion_group!(benches, events);
criterion_main!(benches);
