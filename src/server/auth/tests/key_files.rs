//! Which files are keys and which are a shared secret: a public key that was taken for a secret would let everybody who
//! has it sign tokens.

use super::*;

/// What `.pub` files and `authorized_keys` consist of: a name, and the base64 of the name and the key.
fn openssh(name: &str, key: &[u8]) -> String {
    let field = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat();
    format!("{name} {} ada@example", BASE64_STANDARD.encode([field(name.as_bytes()), field(key)].concat()))
}

fn utf_16(text: &str) -> Vec<u8> {
    [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
fn assert_refused(name: &str, file: impl AsRef<[u8]>, says: &str) {
    let error = House::with_key(&file).refuses_to_open();
    for part in ["/key", "it looks like ", says, "Expected PEM", "oct"] {
        assert!(error.contains(part), "{name}: {part}: {error}");
    }
    let signing = SigningKey::read(&House::new().file("key", &file));
    assert_eq!(signing.err().map(|error| error.to_string().contains(says)), Some(true), "{name} signs");
}

#[test]
fn a_public_key_in_another_form_is_never_a_secret() {
    for pair in Pair::all() {
        let (der, jwk) = (pair.public_der(), pair.public_jwk.clone());
        let set = json!({ "keys": [jwk] }).to_string();
        let body: String = pair.public_pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let lines: Vec<_> = pair.public_pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let mark = |text: &str| format!("\u{feff}{text}");
        for (name, file, says) in [
            ("DER", der.clone(), "DER"),
            ("DER and a line end", [&der[..], b"\n"].concat(), "DER"),
            ("the body of PEM", body.into(), "DER"),
            ("the lines of PEM", lines.join("\n").into(), "DER"),
            ("DER in base64url", encoded(&der).into(), "DER"),
            ("DER in hexadecimal", hexadecimal(&der).into(), "DER"),
            ("PEM in base64", BASE64_STANDARD.encode(&pair.public_pem).into(), "encoded"),
            ("JWK in base64", encoded(jwk.to_string()).into(), "encoded"),
            ("JWKS with a byte order mark", mark(&set).into(), "byte order mark"),
            ("JWK with a byte order mark", mark(&jwk.to_string()).into(), "byte order mark"),
            ("JWK in UTF-16", utf_16(&jwk.to_string()), "UTF-16"),
            ("PEM in UTF-16", utf_16(&pair.public_pem), "UTF-16"),
            ("a bare array of JWK", json!([jwk]).to_string().into(), "JSON array"),
            ("an indented array", format!("\n  [\n{jwk}\n]").into(), "JSON array"),
        ] {
            assert_refused(name, file, says);
        }
    }
}

#[test]
fn der_is_recognized_whatever_byte_it_ends_with() {
    let mut der = Pair::ed25519().public_der();
    for last in [b'\n', b'\r', b' ', 0, 0xff] {
        *der.last_mut().expect("a byte") = last;
        assert_refused(&format!("DER that ends with {last}"), &der, "DER");
    }
}

#[test]
fn an_openssh_key_is_never_a_secret() {
    let ed25519 = openssh("ssh-ed25519", &[7; 32]);
    let rsa = openssh("ssh-rsa", &[7; 256]);
    let ecdsa = openssh("ecdsa-sha2-nistp256", &[7; 65]);
    let security_key = openssh("sk-ssh-ed25519@openssh.com", &[7; 32]);
    let restricted = format!("restrict,command=\"true\" {ed25519}");
    let bare = ed25519.split(' ').nth(1).expect("base64").to_owned();
    for file in
        [ed25519.clone(), format!("{rsa}\n"), ecdsa, security_key, restricted, bare, format!("{ed25519}\n{rsa}\n")]
    {
        assert_refused(&file, &file, "OpenSSH");
    }
}

#[test]
fn what_may_be_something_else_than_a_secret_is_refused() {
    let token = Draft::new().sign();
    let xml = format!("<RSAKeyValue><Modulus>{}</Modulus></RSAKeyValue>", encoded([7; 256]));
    let minisign = format!("untrusted comment: minisign public key\n{}\n", BASE64_STANDARD.encode([7; 42]));
    for (file, says) in [
        (&token[..], "a token"),
        ("https://issuer.example/.well-known/jwks.json", "an address"),
        (&xml, "XML"),
        (&minisign, "several lines"),
        ("keys:\n- kty: OKP\n  crv: Ed25519\n  x: AAAAAAAAAAAAAAAAAAAAAAAAA\n", "several lines"),
        ("a text with a control character, \u{7}, is not typed by anybody", "binary"),
    ] {
        assert_refused(file, file, says);
    }
    // Of 32 bytes nobody can tell whether they are a secret or an Ed25519 key.
    let raw: Vec<u8> = (0..32).map(|n| n ^ 0xf7).collect();
    assert_refused("raw bytes", &raw, "binary");
}

#[tokio::test]
async fn what_can_only_be_a_secret_is_one_and_so_is_what_says_it_is() {
    let random: Vec<u8> = (0..64u8).map(|n| n.wrapping_mul(37) ^ 0xa5).collect();
    let in_two_lines = BASE64_STANDARD.encode(&random);
    let in_two_lines = format!("{}\n{}", &in_two_lines[..64], &in_two_lines[64..]);
    let passphrase = "correct horse battery staple, in größeren Mengen";
    for secret in [BASE64_STANDARD.encode(&random[..32]), hexadecimal(&random[..32]), in_two_lines, passphrase.into()] {
        let token = Draft::new().sign_with(&EncodingKey::from_secret(secret.as_bytes()), Algorithm::HS256);
        let auth = House::with_key(format!("{secret}\n")).open();
        auth.verify(&token, Role::Publisher).await.unwrap_or_else(|error| panic!("{secret}: {error}"));
    }
    let said = json!({ "kty": "oct", "k": encoded(&random) }).to_string();
    let token = Draft::new().sign_with(&EncodingKey::from_secret(&random), Algorithm::HS256);
    House::with_key(said).open().verify(&token, Role::Publisher).await.expect("a token");
}

#[test]
fn the_key_that_is_made_is_always_taken_for_a_secret() {
    for _ in 0..1000 {
        let secret = encoded(rand::random::<[u8; 32]>());
        assert_eq!(super::super::key_form::recognize(secret.as_bytes()), None, "{secret}");
    }
}
