//! Tokens of other libraries, and forged ones (RELIABILITY C1–C14).

use jsonwebtoken::Algorithm;

use super::*;

const SECRET: &str = "a-shared-secret-of-at-least-32-bytes!";
/// 2026-11-21, when the golden tokens were minted, and a bit.
const NOW: i64 = 1_795_300_000;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(NOW, 0).unwrap()
}

fn verifier() -> Verifier {
    Verifier::new(AuthOptions::new(SECRET.into())).unwrap()
}

fn golden(name: &str) -> String {
    let tokens: Value =
        serde_json::from_str(include_str!("../../tests/golden/flask/tokens.json")).unwrap();
    assert_eq!(tokens["secret"], SECRET);
    format!("Bearer {}", tokens[name].as_str().unwrap())
}

fn token(claims: &str) -> String {
    signed(r#"{"alg":"HS256","typ":"JWT"}"#, claims)
}

fn signed(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("Bearer {message}.{signature}")
}

/// The user id and whether it is staff.
type Checked = std::result::Result<(String, bool), ErrorKind>;

fn checked(authorization: &str) -> Checked {
    match verifier().verify(Some(authorization), now()) {
        Ok(Caller::User { id, staff }) => Ok((id.to_string(), staff)),
        Ok(caller) => panic!("a token authenticates a user, not {caller:?}"),
        Err(error) => Err(error.kind()),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it is compared with results")]
fn customer(id: &str) -> Checked {
    Ok((id.to_owned(), false))
}

const INVALID: Checked = Err(ErrorKind::TokenInvalid);
const MISSING: Checked = Err(ErrorKind::TokenMissing);

#[test]
fn tokens_of_pyjwt_and_flask_jwt_extended_are_understood() {
    assert_eq!(checked(&golden("pyjwt_user_id")), customer("1"));
    assert_eq!(checked(&golden("pyjwt_sub")), customer("7"));
    assert_eq!(checked(&golden("flask_jwt_extended_access")), customer("7"));
    assert_eq!(checked(&golden("flask_jwt_extended_staff")), Ok(("7".to_owned(), true)));
    assert_eq!(checked(&golden("flask_jwt_extended_refresh")), INVALID);
    assert_eq!(checked(&golden("pyjwt_expired")), Err(ErrorKind::TokenExpired));
}

#[test]
fn a_header_without_a_bearer_token_is_a_missing_one() {
    for header in ["", " ", "Bearer", "Bearer ", "Basic abc", "Bearer a b", "abc", "Token a.b.c"] {
        assert_eq!(checked(header), MISSING, "{header:?}");
    }
    let kind = verifier().verify(None, now()).unwrap_err().kind();
    assert_eq!(kind, ErrorKind::TokenMissing);
    assert_eq!(checked(&golden("pyjwt_user_id").replace("Bearer", "bEaReR")), customer("1"));
    assert_eq!(checked(&golden("pyjwt_user_id").replace("Bearer ", "")), INVALID);
}

#[test]
fn the_token_does_not_choose_the_algorithm() {
    let claims = r#"{"user_id":1,"exp":4102444800}"#;
    for alg in ["none", "None", "nOnE", "HS384", "RS256", "ES256", ""] {
        let forged = signed(&format!(r#"{{"alg":"{alg}"}}"#), claims);
        assert_eq!(checked(&forged), INVALID, "{alg:?}");
        let (unsigned, _) = forged.rsplit_once('.').unwrap();
        assert_eq!(checked(&format!("{unsigned}.")), INVALID, "{alg:?} unsigned");
    }
    for header in [
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"typ":"JWT"}"#,
        r#"["HS256"]"#,
        "{",
    ] {
        assert_eq!(checked(&signed(header, claims)), INVALID, "{header}");
    }
    let pointing = r#"{"alg":"HS256","kid":"../../dev/null","jku":"http://127.0.0.1:1/"}"#;
    assert_eq!(checked(&signed(pointing, claims)), customer("1"), "what it points to is ignored");
}

#[test]
fn a_changed_or_misshapen_token_is_invalid() {
    let good = golden("pyjwt_user_id");
    assert_eq!(checked(&format!("{good}A")), INVALID);
    assert_eq!(checked(&format!("{good}.x")), INVALID);
    assert_eq!(checked(&good.replacen("eyJ1", "eyJ2", 1)), INVALID);
    for misshapen in ["Bearer a.b", "Bearer a.b.c", "Bearer ..", "Bearer a.b.c.d"] {
        assert_eq!(checked(misshapen), INVALID, "{misshapen}");
    }
    let padding = "x".repeat(TOKEN_BYTES_MAX);
    let huge = token(&format!(r#"{{"user_id":1,"exp":4102444800,"pad":"{padding}"}}"#));
    assert_eq!(checked(&huge), INVALID);
}

#[test]
fn expiry_is_required_and_a_number_of_seconds() {
    assert_eq!(checked(&token(r#"{"user_id":1}"#)), INVALID);
    for exp in
        ["\"4102444800\"", "4102444800.0e0", "4.1e9", "-1", "null", "[4102444800]", "true", "1e400"]
    {
        let claims = format!(r#"{{"user_id":1,"exp":{exp}}}"#);
        assert_eq!(checked(&token(&claims)), INVALID, "{exp}");
    }
    for huge in ["253402300800", "9223372036854775807", "99999999999999999999"] {
        let claims = format!(r#"{{"user_id":1,"exp":{huge}}}"#);
        assert_eq!(checked(&token(&claims)), INVALID, "{huge}");
    }
    assert_eq!(checked(&token(r#"{"user_id":1,"exp":253402300799}"#)), customer("1"));
    assert_eq!(checked(&token(r#"{"user_id":1,"exp":1,"exp":4102444800}"#)), INVALID);
}

#[test]
fn clocks_may_differ_by_the_leeway_and_no_more() {
    let expiring = |by: i64| token(&format!(r#"{{"user_id":1,"exp":{}}}"#, NOW + by));
    assert_eq!(checked(&expiring(-4)), customer("1"));
    assert_eq!(checked(&expiring(-5)), Err(ErrorKind::TokenExpired));
    assert_eq!(checked(&expiring(-61)), Err(ErrorKind::TokenExpired));
    let starting =
        |by: i64| token(&format!(r#"{{"user_id":1,"exp":4102444800,"nbf":{}}}"#, NOW + by));
    assert_eq!(checked(&starting(5)), customer("1"));
    assert_eq!(checked(&starting(6)), INVALID);
    for nbf in ["\"0\"", "0.5e1", "null", "-1", "[]"] {
        let claims = format!(r#"{{"user_id":1,"exp":4102444800,"nbf":{nbf}}}"#);
        assert_eq!(checked(&token(&claims)), INVALID, "{nbf}");
    }
    let claims = r#"{"user_id":1,"exp":4102444800,"iat":"yesterday"}"#;
    assert_eq!(checked(&token(claims)), customer("1"), "iat says nothing that counts");
}

#[test]
fn a_token_is_remembered_until_it_expires() {
    let verifier = verifier();
    let token = token(&format!(r#"{{"user_id":1,"exp":{}}}"#, NOW + 60));
    let remembered = Fingerprint::of(token.strip_prefix("Bearer ").unwrap());
    let kind = |token: &str, at| verifier.verify(Some(token), at).map_err(|e| e.kind());
    assert!(verifier.recall(remembered, now()).is_none());
    let known = kind(&token, now());
    assert!(known.is_ok() && verifier.recall(remembered, now()).is_some());
    assert_eq!(kind(&token, now() + TimeDelta::seconds(64)), known);
    assert_eq!(kind(&token, now() + TimeDelta::seconds(65)), Err(ErrorKind::TokenExpired));
    for changed in [format!("{token}A"), token[..token.len() - 1].to_owned()] {
        assert_eq!(kind(&changed, now()), Err(ErrorKind::TokenInvalid), "{changed}");
    }
}

#[test]
fn what_is_refused_is_not_remembered() {
    let verifier = verifier();
    let early = token(&format!(r#"{{"user_id":1,"exp":4102444800,"nbf":{}}}"#, NOW + 60));
    assert!(verifier.verify(Some(&early), now()).is_err());
    let remembered = Fingerprint::of(early.strip_prefix("Bearer ").unwrap());
    assert!(verifier.recall(remembered, now()).is_none());
}

#[test]
fn the_user_stands_in_user_id_or_in_sub() {
    let with = |claims: &str| checked(&token(&format!(r#"{{{claims}"exp":4102444800}}"#)));
    assert_eq!(with(r#""sub":7,"#), customer("7"));
    assert_eq!(with(r#""user_id":"66f1","#), customer("66f1"));
    assert_eq!(with(r#""user_id":7,"sub":"7","#), customer("7"));
    for claims in [
        "",
        r#""user_id":1,"sub":"2","#,
        r#""user_id":null,"sub":"2","#,
        r#""user_id":1.0,"#,
        r#""user_id":-1,"#,
        r#""user_id":true,"#,
        r#""user_id":[1],"#,
        r#""sub":"","#,
        r#""sub":"a\u0000b","#,
    ] {
        assert_eq!(with(claims), INVALID, "{claims}");
    }
}

#[test]
fn n6_times_may_have_a_fraction() {
    let exp = |exp: &str| checked(&token(&format!(r#"{{"user_id":1,"exp":{exp}}}"#)));
    assert_eq!(exp("4102444800.123456"), customer("1"));
    assert_eq!(exp("4102444800.0"), customer("1"));
    assert_eq!(exp(&format!("{}.0009", NOW - 5)), customer("1"), "the leeway is 5 s");
    assert_eq!(exp(&format!("{}.9999999999999", NOW - 6)), Err(ErrorKind::TokenExpired));
    assert_eq!(exp("253402300800.0"), INVALID);
    let claims = format!(r#"{{"user_id":1,"exp":4102444800,"iat":{NOW}.25,"nbf":{NOW}.75}}"#);
    assert_eq!(checked(&token(&claims)), customer("1"));
}

#[test]
fn n6_the_settings_say_which_claims_name_the_user() {
    let with = |claims: &str| checked(&token(&format!(r#"{{{claims},"exp":4102444800}}"#)));
    assert_eq!(with(r#""userId":7"#), customer("7"));
    assert_eq!(with(r#""id":"7""#), customer("7"));
    assert_eq!(with(r#""_id":"66f1f7a2b3c4d5e6f7a8b9c0""#), customer("66f1f7a2b3c4d5e6f7a8b9c0"));
    assert_eq!(with(r#""_id":7,"id":"7","userId":"7","sub":"7","user_id":7"#), customer("7"));
    for claims in [
        r#""userId":7,"id":8"#,
        r#""sub":"7","_id":8"#,
        r#""userId":7,"id":null"#,
        r#""userId":1.5"#,
        r#""uid":7"#,
    ] {
        assert_eq!(with(claims), INVALID, "{claims}");
    }
    let mut options = AuthOptions::new(SECRET.into());
    options.user_claims = vec!["uid".to_owned()];
    let verifier = Verifier::new(options).unwrap();
    let kind = |claims: &str| {
        let token = token(&format!(r#"{{{claims},"exp":4102444800}}"#));
        verifier.verify(Some(&token), now()).map_err(|error| error.kind()).map(|_| ())
    };
    assert_eq!(kind(r#""uid":7,"sub":"another""#), Ok(()), "other claims do not count");
    assert_eq!(kind(r#""user_id":7"#), Err(ErrorKind::TokenInvalid));
}

#[test]
fn n6_a_secret_signs_with_the_algorithms_of_the_settings() {
    let signed_with = |algorithm: HmacAlgorithm, named: &str| {
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{named}"}}"#));
        let claims = URL_SAFE_NO_PAD.encode(r#"{"user_id":1,"exp":4102444800}"#);
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let message = format!("{header}.{claims}");
        let signature = sign(message.as_bytes(), &key, algorithm.into()).unwrap();
        format!("Bearer {message}.{signature}")
    };
    let all = [HmacAlgorithm::Hs256, HmacAlgorithm::Hs384, HmacAlgorithm::Hs512];
    for accepted in all {
        let mut options = AuthOptions::new(SECRET.into());
        options.secret_algorithms = vec![accepted];
        let verifier = Verifier::new(options).unwrap();
        for signing in all {
            for named in all {
                let token = signed_with(signing, named.name());
                let is_valid = verifier.verify(Some(&token), now()).is_ok();
                let expected = signing == accepted && named == accepted;
                assert_eq!(is_valid, expected, "{accepted:?} {signing:?} {named:?}");
            }
        }
    }
    let mut options = AuthOptions::new(SECRET.into());
    options.secret_algorithms = all.to_vec();
    let verifier = Verifier::new(options).unwrap();
    for signing in all {
        assert!(verifier.verify(Some(&signed_with(signing, signing.name())), now()).is_ok());
    }
}

#[test]
fn n6_a_missing_expiry_is_accepted_by_setting_and_warned_about() {
    let mut options = AuthOptions::new(SECRET.into());
    options.requires_expiry = false;
    let verifier = Verifier::new(options).unwrap();
    assert!(verifier.warnings().join(" ").contains("jwt_require_exp"));
    let kind = |claims: &str| {
        verifier.verify(Some(&token(claims)), now()).map_err(|error| error.kind()).map(|_| ())
    };
    assert_eq!(kind(r#"{"user_id":1}"#), Ok(()));
    assert_eq!(kind(r#"{"user_id":1,"exp":1}"#), Err(ErrorKind::TokenExpired));
    assert_eq!(kind(r#"{"user_id":1,"exp":null}"#), Err(ErrorKind::TokenInvalid));
}

#[test]
fn n6_the_log_says_why_a_token_was_refused_without_the_token() {
    let good = token(r#"{"user_id":1,"exp":4102444800}"#);
    let claims = r#"{"user_id":1,"exp":4102444800}"#;
    for (refused, reason) in [
        (format!("{good}A"), "no key for \"HS256\" has signed it"),
        (signed(r#"{"alg":"HS512"}"#, claims), "there is no key for its alg \"HS512\""),
        ("Bearer a.b".to_owned(), "it has not three parts"),
        (token(r#"{"user_id":1}"#), "it has no exp"),
        (token(r#"{"user_id":1,"exp":"1"}"#), "its exp is not a time"),
        (token(r#"{"exp":4102444800}"#), "no claim names the user; looked for user_id, sub, "),
        (
            token(r#"{"user_id":1,"userId":2,"exp":4102444800}"#),
            "the claims user_id and userId name different users",
        ),
        (
            token(r#"{"user_id":1,"exp":4102444800,"aud":"shop"}"#),
            "it has an aud, and jwt_audience is not set",
        ),
        (good.replace("Bearer ", ""), "it has no scheme; send Bearer before it"),
    ] {
        let error = verifier().verify(Some(&refused), now()).unwrap_err();
        assert_eq!(error.message(), "The token is not valid.", "clients learn nothing");
        let reason_logged = token_refusal(&error).unwrap();
        assert!(reason_logged.starts_with(reason), "{reason_logged}");
        assert!(
            !refused.split('.').any(|part| part.len() > 5 && reason_logged.contains(part)),
            "{reason_logged}"
        );
    }
}

#[test]
fn staff_is_who_a_configured_claim_names() {
    let is_staff = |claims: &str| {
        checked(&token(&format!(r#"{{"user_id":1,"exp":4102444800,{claims}}}"#))).unwrap().1
    };
    for claims in [
        r#""role":"admin""#,
        r#""roles":["buyer","admin"]"#,
        r#""scope":"orders:read admin""#,
        r#""scopes":["admin"]"#,
        r#""is_admin":true"#,
    ] {
        assert!(is_staff(claims), "{claims}");
    }
    for claims in [
        r#""role":"administrator""#,
        r#""role":"Admin""#,
        r#""is_admin":"true""#,
        r#""is_admin":1"#,
        r#""roles":{"admin":true}"#,
        r#""name":"admin""#,
    ] {
        assert!(!is_staff(claims), "{claims}");
    }
}

#[test]
fn issuer_and_audience_are_checked_where_they_are_set() {
    let mut options = AuthOptions::new(SECRET.into());
    options.issuer = Some("users".to_owned());
    options.audience = Some("orders".to_owned());
    let strict = Verifier::new(options).unwrap();
    let kind = |claims: &str| {
        let token = token(&format!(r#"{{"user_id":1,"exp":4102444800{claims}}}"#));
        strict.verify(Some(&token), now()).map_err(|error| error.kind()).map(|_| ())
    };
    assert_eq!(kind(r#","iss":"users","aud":"orders""#), Ok(()));
    assert_eq!(kind(r#","iss":"users","aud":["shop","orders"]"#), Ok(()));
    for claims in [
        "",
        r#","iss":"users""#,
        r#","aud":"orders""#,
        r#","iss":"others","aud":"orders""#,
        r#","iss":["users"],"aud":"orders""#,
        r#","iss":"users","aud":"shop""#,
        r#","iss":"users","aud":[1,"orders"]"#,
    ] {
        assert_eq!(kind(claims), Err(ErrorKind::TokenInvalid), "{claims}");
    }
    let elsewhere = token(r#"{"user_id":1,"exp":4102444800,"aud":"shop"}"#);
    assert_eq!(checked(&elsewhere), INVALID, "a token for another service");
}

#[test]
fn minted_tokens_say_what_old_and_new_services_read() {
    let verifier = verifier();
    let user = UserId::parse("42").unwrap();
    let minted = verifier.mint(&user, true, Duration::from_hours(1), now()).unwrap();
    let caller = verifier.verify(Some(&format!("Bearer {minted}")), now()).unwrap();
    assert_eq!(caller, Caller::User { id: user, staff: true });
    let claims = minted.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    let expected = json!({
        "user_id": 42, "sub": "42", "iat": NOW, "exp": NOW + 3600, "role": "admin"
    });
    assert_eq!(claims, expected);
    let other = UserId::parse("007").unwrap();
    let minted = verifier.mint(&other, false, Duration::from_hours(1), now()).unwrap();
    assert_eq!(checked(&format!("Bearer {minted}")), customer("007"));
    assert!(verifier.mint(&other, false, Duration::MAX, now()).is_err());
}

#[test]
fn weak_and_missing_secrets_are_reported() {
    assert!(verifier().warnings().is_empty());
    let weak = Verifier::new(AuthOptions::new("short".into())).unwrap();
    let warnings = weak.warnings();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("5 bytes") && !warnings[0].contains("short"));
    let error = Verifier::new(AuthOptions::new("".into())).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
}
