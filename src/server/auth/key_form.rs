//! Recognizes files that must not be used as a shared secret: keys in other forms, and anything that isn't one line of
//! text. A public key that were used as a secret would let everybody who has it sign tokens.

use base64::Engine;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use super::key_error::KeyForm;
use super::pem;

/// The shortest DER key there is: an Ed25519 public key. Shorter bytes are never taken for DER, so that no encoded
/// secret of 32 random bytes is refused by chance.
const SHORTEST_DER: usize = 44;

/// DER's tags of what keys and certificates consist of.
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;

/// What begins a line of an OpenSSH public key, perhaps after options.
const OPENSSH: [&str; 4] = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-sha2-"];

/// What a file looks like that is neither PEM nor a JSON object; `None` if it can only be a shared secret.
pub(super) fn recognize(file: &[u8]) -> Option<KeyForm> {
    if [&b"\xef\xbb\xbf"[..], b"\xff\xfe", b"\xfe\xff"].iter().any(|mark| file.starts_with(mark)) {
        return Some(KeyForm::ByteOrderMark);
    }
    if is_der(file) {
        return Some(KeyForm::Der);
    }
    let Some(text) = std::str::from_utf8(file).ok().map(str::trim) else { return Some(KeyForm::Binary) };
    if text.split_whitespace().any(|word| OPENSSH.iter().any(|prefix| word.starts_with(prefix))) {
        return Some(KeyForm::OpenSsh);
    }
    match text.as_bytes().first() {
        Some(b'[') => return Some(KeyForm::Array),
        Some(b'<') => return Some(KeyForm::Xml),
        _ => {}
    }
    if text.starts_with("eyJ") && text.split('.').count() == 3 {
        return Some(KeyForm::Token);
    }
    if text.starts_with("https://") || text.starts_with("http://") {
        return Some(KeyForm::Url);
    }
    let decoded = decodings(text);
    if let Some(form) = decoded.iter().find_map(|bytes| encoded_form(bytes)) {
        return Some(form);
    }
    if !text.contains(char::is_control) {
        return None;
    }
    if text.contains(|c: char| c.is_control() && !matches!(c, '\r' | '\n' | '\t')) {
        return Some(KeyForm::Binary);
    }
    // `openssl rand -base64 64` writes a secret in two lines.
    if decoded.is_empty() { Some(KeyForm::Lines) } else { None }
}

/// What bytes are that were written in base64 or hexadecimal; `None` if they may be random.
fn encoded_form(bytes: &[u8]) -> Option<KeyForm> {
    if is_der(bytes) {
        return Some(KeyForm::Der);
    }
    if is_openssh_blob(bytes) {
        return Some(KeyForm::OpenSsh);
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let is_json = matches!(serde_json::from_str(text), Ok(Value::Object(_) | Value::Array(_)));
    (is_json || pem::is_pem(text)).then_some(KeyForm::Encoded)
}

/// Whether these are the bytes of one SEQUENCE that begins as keys and certificates do.
fn is_der(bytes: &[u8]) -> bool {
    if bytes.len() < SHORTEST_DER || bytes[0] != SEQUENCE {
        return false;
    }
    let (header, length) = match bytes[1] {
        short @ ..=0x7f => (2, usize::from(short)),
        0x81 => (3, usize::from(bytes[2])),
        0x82 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
        _ => return false,
    };
    let Some((content, rest)) = bytes[header..].split_at_checked(length) else { return false };
    matches!(content.first(), Some(&(SEQUENCE | INTEGER))) && rest.trim_ascii().is_empty()
}

/// Whether this is what the base64 part of an OpenSSH key encodes: the length of a name, and the name.
fn is_openssh_blob(bytes: &[u8]) -> bool {
    let Some((length, rest)) = bytes.split_first_chunk() else { return false };
    let length = u32::from_be_bytes(*length) as usize;
    rest.get(..length).is_some_and(|name| OPENSSH.iter().any(|prefix| name.starts_with(prefix.as_bytes())))
}

/// What a text encodes in base64, base64url and hexadecimal, as far as it is one of them.
fn decodings(text: &str) -> Vec<Vec<u8>> {
    let text: String = text.split_whitespace().collect();
    let base64 = |alphabet: &Alphabet| {
        let padding = DecodePaddingMode::Indifferent;
        let config =
            GeneralPurposeConfig::new().with_decode_padding_mode(padding).with_decode_allow_trailing_bits(true);
        GeneralPurpose::new(alphabet, config).decode(&text).ok()
    };
    [base64(&STANDARD), base64(&URL_SAFE), hexadecimal(&text)].into_iter().flatten().collect()
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    Some(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}
