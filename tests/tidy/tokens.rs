//! Rust source as words and signs, without comments, literals and code that only tests compile.
//!
//! A parser would not see into the arguments of macros; these tokens do.

use std::iter::Peekable;
use std::str::Chars;

/// A word, `::`, or a single sign.
pub type Token = String;

/// The tokens of a file.
pub fn tokens(text: &str) -> Vec<Token> {
    without_tests(&lex(text))
}

fn lex(text: &str) -> Vec<Token> {
    let mut found: Vec<Token> = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '/' if rest.peek() == Some(&'/') => {
                rest.by_ref().find(|&c| c == '\n');
            }
            '/' if rest.peek() == Some(&'*') => skip_block_comment(&mut rest),
            '"' => skip_string(&mut rest),
            '\'' => skip_quote(&mut rest),
            c if c.is_alphanumeric() || c == '_' => lex_word(c, &mut rest, &mut found),
            ':' if rest.peek() == Some(&':') => {
                rest.next();
                found.push("::".to_owned());
            }
            c if c.is_whitespace() => {}
            c => found.push(c.to_string()),
        }
    }
    found
}

fn lex_word(first: char, rest: &mut Peekable<Chars<'_>>, found: &mut Vec<Token>) {
    let mut word = String::from(first);
    while let Some(c) = rest.next_if(|c| c.is_alphanumeric() || *c == '_') {
        word.push(c);
    }
    let is_raw = ["r", "br", "cr"].contains(&word.as_str());
    match rest.peek() {
        Some('"' | '#') if is_raw => skip_raw_string(rest, found),
        Some('"') if ["b", "c"].contains(&word.as_str()) => {}
        _ => found.push(word),
    }
}

fn skip_block_comment(rest: &mut Peekable<Chars<'_>>) {
    let mut depth = 0;
    let mut last = '/';
    for c in rest {
        match (last, c) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                last = c;
                continue;
            }
        }
        if depth == 0 {
            return;
        }
        last = ' ';
    }
}

fn skip_string(rest: &mut Peekable<Chars<'_>>) {
    while let Some(c) = rest.next() {
        match c {
            '\\' => drop(rest.next()),
            '"' => return,
            _ => {}
        }
    }
}

/// Skips `"…"` and `#"…"#` after the letter of a raw string; keeps the word of `r#word`.
fn skip_raw_string(rest: &mut Peekable<Chars<'_>>, found: &mut Vec<Token>) {
    let mut hashes = 0;
    while rest.next_if_eq(&'#').is_some() {
        hashes += 1;
    }
    if rest.next_if_eq(&'"').is_none() {
        if let Some(first) = rest.next() {
            lex_word(first, rest, found);
        }
        return;
    }
    let mut closing: Option<usize> = None;
    for c in rest {
        closing = match (c, closing) {
            ('"', _) => Some(0),
            ('#', Some(seen)) => Some(seen + 1),
            _ => None,
        };
        if closing == Some(hashes) {
            return;
        }
    }
}

/// Skips a character or the name of a lifetime, after its `'`.
fn skip_quote(rest: &mut Peekable<Chars<'_>>) {
    let Some(first) = rest.next() else { return };
    if first == '\\' {
        rest.next();
        rest.by_ref().find(|&c| c == '\'');
    } else if rest.next_if_eq(&'\'').is_none() {
        while rest.next_if(|c| c.is_alphanumeric() || *c == '_').is_some() {}
    }
}

/// Drops each item marked `#[cfg(test)]`.
fn without_tests(all: &[Token]) -> Vec<Token> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::with_capacity(all.len());
    let mut at = 0;
    while at < all.len() {
        if all[at..].iter().map(String::as_str).take(MARK.len()).eq(MARK) {
            at = end_of_item(all, at + MARK.len());
        } else {
            kept.push(all[at].clone());
            at += 1;
        }
    }
    kept
}

/// The position after an item: after its `;`, or after the brace that closes its body.
fn end_of_item(all: &[Token], begin: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in all.iter().enumerate().skip(begin) {
        match token.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && (token == ";" || token == "}") {
            return at + 1;
        }
    }
    all.len()
}

#[test]
fn comments_literals_and_tests_are_left_out() {
    let text = r##"
        use a::b; // x
        /* y /* z */ */ const C: &str = "d\"e"; let f = r#"g"h"#; let i = '\''; let j = 'k';
        fn l<'m>(r#type: &'m str) -> &'m [u8] { b"n" }
        #[cfg(test)] #[path = "o"] mod p { fn q() {} }
        #[cfg(test)] mod r;
        struct S;
    "##;
    let expected = "use a :: b ; const C : & str = ; let f = ; let i = ; let j = ; \
                    fn l < > ( type : & str ) -  > & [ u8 ] { } struct S ;";
    let expected: Vec<_> = expected.split_whitespace().collect();
    assert_eq!(tokens(text), expected);
}
