//! A softmax cross-entropy in Rust that `xent check --program ./loss` can call.
//!
//!     rustc -O --edition 2021 -o loss loss.rs
//!
//! Replace `cross_entropy` by a call of your own kernel; the rest reads and writes xent.loss/1
//! (docs/loss-protocol.md): a line of JSON with a batch, a line of JSON with its losses.

use std::io::{self, BufRead, Write};

// ---- The loss. ----

/// Returns the loss of one example, and writes its gradient times `upstream`; computed in f64.
fn cross_entropy(x: &[f64], label: usize, upstream: f64, gradient: &mut [f64]) -> f64 {
    let mut top = 0;
    for i in 1..x.len() {
        if x[i] > x[top] {
            top = i;
        }
    }
    let mut others = 0.0; // the sum without its largest term, which is 1 and would swallow a small rest
    for i in 0..x.len() {
        gradient[i] = if i == top { 1.0 } else { (x[i] - x[top]).exp() };
        if i != top {
            others += gradient[i];
        }
    }
    let mut rest = 0.0; // minus the label's entry: p - 1 would lose it where p is nearly 1
    for i in 0..x.len() {
        gradient[i] *= upstream / (1.0 + others);
        if i != label {
            rest += gradient[i];
        }
    }
    gradient[label] = -rest;
    others.ln_1p() + if label == top { 0.0 } else { x[top] - x[label] }
}

// ---- JSON: one value, and the rest of the text. ----

enum Json<'a> {
    Word(&'a str), // a number, true, false or null, as it stands
    Text(&'a str), // without its quotes; escapes stay what they are
    List(Vec<Json<'a>>),
    Object(Vec<(&'a str, Json<'a>)>),
}

impl<'a> Json<'a> {
    /// The value of a key; keys come in any order.
    fn get(&self, key: &str) -> Option<&Json<'a>> {
        match self {
            Json::Object(members) => members.iter().find(|(name, _)| *name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    fn text(&self) -> &'a str {
        match self {
            Json::Word(text) | Json::Text(text) => text,
            _ => "",
        }
    }

    /// The numbers of a list: indices as they stand, floats in hexadecimal.
    fn numbers(&self) -> Option<Vec<f64>> {
        match self {
            Json::List(values) => values.iter().map(|value| parse_float(value.text())).collect(),
            _ => None,
        }
    }
}

fn parse(text: &str) -> Option<(Json<'_>, &str)> {
    let text = text.trim_start();
    if let Some(rest) = text.strip_prefix('"') {
        let mut is_escaped = false;
        for (at, letter) in rest.char_indices() {
            if letter == '"' && !is_escaped {
                return Some((Json::Text(&rest[..at]), &rest[at + 1..]));
            }
            is_escaped = letter == '\\' && !is_escaped;
        }
        return None;
    }
    if let Some(rest) = text.strip_prefix('[') {
        return parse_items(rest, ']', parse).map(|(values, rest)| (Json::List(values), rest));
    }
    if let Some(rest) = text.strip_prefix('{') {
        return parse_items(rest, '}', parse_member).map(|(members, rest)| (Json::Object(members), rest));
    }
    let end = text.find([',', ']', '}', ' ', '\n']).unwrap_or(text.len());
    (end > 0).then(|| (Json::Word(&text[..end]), &text[end..]))
}

fn parse_member(text: &str) -> Option<((&str, Json<'_>), &str)> {
    let (key, rest) = parse(text)?;
    let (value, rest) = parse(rest.trim_start().strip_prefix(':')?)?;
    Some(((key.text(), value), rest))
}

fn parse_items<'a, T>(
    text: &'a str,
    end: char,
    parse_item: fn(&'a str) -> Option<(T, &'a str)>,
) -> Option<(Vec<T>, &'a str)> {
    let mut items = Vec::new();
    let mut rest = text.trim_start();
    while !rest.starts_with(end) {
        let (item, after) = parse_item(rest)?;
        items.push(item);
        rest = after.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    Some((items, &rest[1..]))
}

// ---- Floats: as C's %a writes them; Rust has no such format. ----

/// Reads "-0x1.8p+1", "nan", "inf", or decimal digits.
fn parse_float(text: &str) -> Option<f64> {
    let (sign, size) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text),
    };
    let Some(digits) = size.strip_prefix("0x") else {
        return size.parse::<f64>().ok().map(|value| sign * value);
    };
    let (mantissa, exponent) = digits.split_once('p')?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let count = u64::from_str_radix(&format!("{whole}{fraction}"), 16).ok()?; // 53 bits: exact in f64
    let power = exponent.parse::<i32>().ok()? - 4 * fraction.len() as i32;
    // In two steps, each exact but for the last: 2^-1074 is less than any power of two that is normal.
    Some(sign * count as f64 * 2f64.powi(power / 2) * 2f64.powi(power - power / 2))
}

/// Writes what `parse_float` reads, by the bits.
fn format_float(value: f64) -> String {
    let sign = if value.is_sign_negative() { "-" } else { "" };
    if value.is_nan() {
        return "nan".to_string();
    }
    if value.is_infinite() {
        return format!("{sign}inf");
    }
    let (bits, exponent) = (value.to_bits() & ((1 << 52) - 1), (value.to_bits() >> 52) & 0x7ff);
    match exponent {
        0 => format!("{sign}0x0.{bits:013x}p-1022"), // 0 and what is subnormal
        _ => format!("{sign}0x1.{bits:013x}p{:+}", exponent as i32 - 1023),
    }
}

fn format_list(values: &[f64], is_float: bool) -> String {
    let round = |value: f64| if is_float { f64::from(value as f32) } else { value };
    let texts: Vec<String> = values.iter().map(|&v| format!("\"{}\"", format_float(round(v)))).collect();
    format!("[{}]", texts.join(", "))
}

// ---- A request. ----

const GREETING: &str = r#""name": "loss.rs", "version": "1", "labels": "indices", "gradient": true,
 "dtypes": ["float32", "float64"], "takes": ["ignore_index"]"#;

/// Returns the members of the answer to a batch, or why it is refused.
fn answer(request: &Json) -> Result<String, &'static str> {
    let list = |key: &str| request.get(key).and_then(Json::numbers).ok_or("a list that holds no numbers");
    let (shape, x, labels, upstream) = (list("shape")?, list("logits")?, list("labels")?, list("upstream")?);
    let ignored = request.get("ignore_index").and_then(|index| parse_float(index.text()));
    let [examples, classes] = shape[..] else { return Err("a shape of other than two numbers") };
    let (examples, classes) = (examples as usize, classes as usize);
    if x.len() != examples * classes || labels.len() != examples || upstream.len() != examples {
        return Err("lists that do not fit the shape");
    }
    let (mut losses, mut gradient) = (vec![0.0; examples], vec![0.0; examples * classes]);
    for n in 0..examples {
        if Some(labels[n]) == ignored {
            continue; // a loss and a gradient of 0
        }
        if labels[n] < 0.0 || labels[n] >= classes as f64 {
            return Err("a label out of range");
        }
        let row = n * classes..(n + 1) * classes;
        losses[n] = cross_entropy(&x[row.clone()], labels[n] as usize, upstream[n], &mut gradient[row]);
    }
    let is_float = request.get("dtype").is_some_and(|dtype| dtype.text() == "float32");
    let (losses, gradient) = (format_list(&losses, is_float), format_list(&gradient, is_float));
    Ok(format!("\"losses\": {losses}, \"gradient\": {gradient}"))
}

fn main() -> io::Result<()> {
    let mut output = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let Some((request, _)) = parse(&line) else { continue };
        let text = |key: &str| request.get(key).map_or("", Json::text);
        let members = match text("ask") {
            "describe" => GREETING.replace('\n', ""),
            "losses" => answer(&request).unwrap_or_else(|why| format!("\"refused\": \"{why}\"")),
            _ => "\"refused\": \"an unknown question\"".to_string(),
        };
        writeln!(output, "{{\"schema\": \"xent.loss/1\", \"id\": {}, {members}}}", text("id"))?;
        output.flush()?; // xent waits for the line
    }
    Ok(())
}
