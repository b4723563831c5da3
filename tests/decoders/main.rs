//! Runs every fuzz target on its corpus and on random mutations of it. `make fuzz` runs the same
//! targets with coverage guidance.

#![expect(clippy::expect_used, reason = "in a test a panic is a failure with its location")]

mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use fastrand::Rng;

/// Mutated inputs per target.
const MUTATIONS: usize = 500;
/// Longest mutated input, in bytes.
const BYTES_MAX: usize = 4096;
/// Bytes with a meaning in one of the formats.
const SYNTAX_BYTES: &[u8] = b"\"\\{}[]():,.-+09eE \t\n\0\x7f\xff";
/// Most mutations of one input.
const CHANGES_MAX: usize = 5;

fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The corpus of a target: the lines of its seed file, and the files that fuzzing has found.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let seeds = project().join(format!("tests/corpus/{name}.txt"));
    let seeds = fs::read(&seeds).expect("a file of seeds for each target");
    let mut kept: Vec<_> = seeds.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let found = fs::read_dir(project().join("fuzz/corpus").join(name)).into_iter().flatten();
    let mut found: Vec<_> = found.map(|entry| entry.expect("an entry").path()).collect();
    found.sort();
    kept.extend(found.iter().map(|path| fs::read(path).expect("a readable file")));
    kept
}

/// An input of the corpus with bytes removed, repeated, changed or spliced from another input.
fn mutate(kept: &[Vec<u8>], random: &mut Rng) -> Vec<u8> {
    let mut body = kept[random.usize(..kept.len())].clone();
    for _ in 0..=random.usize(..CHANGES_MAX) {
        let begin = random.usize(..=body.len());
        let end = (begin + random.usize(..12)).min(body.len());
        let place = begin..end;
        match random.u8(..6) {
            0 => drop(body.drain(place)),
            1 => {
                let repeated = body[place.clone()].repeat(random.usize(1..20));
                body.splice(end..end, repeated).for_each(drop);
            }
            2 => body[place].iter_mut().for_each(|byte| *byte = random.u8(..)),
            3 => body[place].iter_mut().for_each(|byte| *byte ^= 1 << random.u8(..8)),
            4 => body.insert(begin, SYNTAX_BYTES[random.usize(..SYNTAX_BYTES.len())]),
            _ => {
                let other = &kept[random.usize(..kept.len())];
                let from = random.usize(..=other.len());
                body.splice(place, other[from..].iter().copied()).for_each(drop);
            }
        }
    }
    body.truncate(BYTES_MAX);
    body
}

fn holds(name: &str) {
    let kept = corpus(name);
    let mut random = Rng::with_seed(kept.len() as u64);
    let inputs = kept.iter().cloned().chain((0..MUTATIONS).map(|_| mutate(&kept, &mut random)));
    for input in inputs {
        let ran = catch_unwind(AssertUnwindSafe(|| targets::run(name, &input)));
        let shown = input.escape_ascii();
        assert!(ran.is_ok(), "{name} fails on b\"{shown}\": add it to fuzz/corpus/{name}/");
    }
}

macro_rules! each_holds {
    ($($test:ident = $name:literal;)*) => {
        const RUN: &[&str] = &[$($name),*];
        $(
            #[test]
            fn $test() {
                holds($name);
            }
        )*
    };
}

each_holds! {
    answers_of_services = "answers";
    claims_of_tokens = "claims";
    copies_of_orders = "copies";
    cursors_of_lists = "cursors";
    events_of_flask = "events-flask";
    events_of_gateway = "events-gateway";
    events_of_stock = "events-stock";
    documents_of_graphql = "graphql";
    headers_of_requests = "headers";
    ids_and_words = "ids";
    sets_of_keys = "keys";
    amounts_and_stock = "numbers";
    parameters_of_graphql = "parameters";
    bodies_of_rest = "rest";
    messages_on_sockets = "sockets";
    tokens_of_requests = "tokens";
}

#[test]
fn every_target_is_run_here_and_fuzzed() {
    let known: Vec<_> = targets::ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(RUN, known);
    let manifest = fs::read_to_string(project().join("fuzz/Cargo.toml")).expect("fuzz/Cargo.toml");
    for name in known {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "no [[bin]] for {name}");
        let program = project().join(format!("fuzz/fuzz_targets/{name}.rs"));
        let program = fs::read_to_string(program).expect("a program for each target");
        assert!(program.contains(&format!("run({name:?}, data)")), "{name} runs another");
    }
}
