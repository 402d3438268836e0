//! The names of secrets: recognised by their words, in any case, separators and language.

use unicode_normalization::UnicodeNormalization as _;

/// A name is a secret's if it holds one of these, in any case and with any separators.
pub const IN_NAMES: [&str; 40] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "secret",
    "apikey",
    "accesskey",
    "privatekey",
    "signingkey",
    "encryptionkey",
    "accountkey",
    "authorization",
    "credential",
    "connectionstring",
    "accesstoken",
    "refreshtoken",
    "authtoken",
    "apitoken",
    "bearertoken",
    "sessiontoken",
    "creditcard",
    "cardnumber",
    "securitycode",
    "recoverycode",
    "passwort",
    "kennwort",
    "motdepasse",
    "contrasena",
    "palavrapasse",
    "wachtwoord",
    "losenord",
    "adgangskode",
    "salasana",
    "пароль",
    "密码",
    "密碼",
    "パスワード",
    "暗証番号",
    "비밀번호",
    "סיסמה",
];

/// Or if it ends with one of these, digits behind it not counted.
pub const AT_THE_END: [&str; 5] = ["token", "tokenvalue", "pwd", "userpass", "dbpass"];

/// Or if one of its words is one of these.
pub const WORDS: [&str; 14] = [
    "cvv", "cvc", "otp", "totp", "jwt", "creds", "senha", "haslo", "hasło", "heslo", "lozinka",
    "jelszo", "sifre", "mdp",
];

/// Or if it is one of these.
pub const WHOLE_NAMES: [&str; 5] = ["pass", "pw", "bearer", "cookie", "setcookie"];

/// A name that ends with one of these is not a secret's: a position in a list.
pub const HARMLESS_TOKENS: [&str; 7] = [
    "pagetoken",
    "nexttoken",
    "prevtoken",
    "previoustoken",
    "continuationtoken",
    "synctoken",
    "resumetoken",
];

/// A name of several words whose last is one of these tells something about a secret, and is not one.
pub const ABOUT_SECRETS: [&str; 24] = [
    "age",
    "at",
    "changed",
    "count",
    "created",
    "date",
    "enabled",
    "expiration",
    "expired",
    "expires",
    "expiry",
    "in",
    "length",
    "limit",
    "name",
    "on",
    "policy",
    "required",
    "score",
    "strength",
    "ttl",
    "type",
    "updated",
    "version",
];

/// Maximum length of a name, in bytes; longer text does not name a field.
const MAX_NAME: usize = 256;

/// Whether a field of this name holds a secret, by its name.
pub fn is_secret(name: &str) -> bool {
    if name.len() > MAX_NAME {
        return false;
    }
    let name = plain(name);
    let words = words(&name);
    let joined = words.concat();
    let bare = joined.trim_end_matches(|digit: char| digit.is_ascii_digit());
    let sounds_like_one = WHOLE_NAMES.contains(&bare)
        || AT_THE_END.iter().any(|word| bare.ends_with(word))
        || IN_NAMES.iter().any(|word| joined.contains(word)) && !joined.contains("secretar")
        || words
            .iter()
            .any(|word| WORDS.contains(&without_digits(word)));
    sounds_like_one && !is_harmless(bare, &words)
}

fn is_harmless(bare: &str, words: &[String]) -> bool {
    let is_about = |last: &String| words.len() > 1 && ABOUT_SECRETS.contains(&last.as_str());
    HARMLESS_TOKENS.iter().any(|end| bare.ends_with(end)) || words.last().is_some_and(is_about)
}

fn without_digits(word: &str) -> &str {
    word.trim_end_matches(|digit: char| digit.is_ascii_digit())
}

/// Full-width letters and other compatibility forms as plain ones, and Latin letters without their accents.
fn plain(name: &str) -> String {
    if name.is_ascii() {
        return name.to_owned();
    }
    let is_accent = |letter: &char| ('\u{300}'..='\u{36f}').contains(letter);
    name.nfkd()
        .filter(|letter| !is_accent(letter))
        .nfc()
        .collect()
}

/// The words of a name in lower case: `userPassword`, `user-password` and `USER_PASSWORD` have the same.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for letter in name.chars() {
        // Invisible characters separate nothing.
        if matches!(
            letter,
            '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}'
        ) {
            continue;
        }
        let begins = letter.is_uppercase() && was_lower || !letter.is_alphanumeric();
        if begins && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if letter.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(letter.to_lowercase());
        }
        was_lower = letter.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether an unscanned text, whose form has no names, holds the name of a secret somewhere.
pub(super) fn names_one(text: &[u8]) -> bool {
    let letters = text.iter().filter(|byte| byte.is_ascii_alphanumeric());
    let letters: String = letters
        .map(|byte| char::from(byte.to_ascii_lowercase()))
        .collect();
    IN_NAMES.iter().any(|word| letters.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_told_by_their_names() {
        for name in [
            "password",
            "Password",
            "PASS-WORD",
            "userPassword",
            "password2",
            "db_passwd",
            "pwd",
            "old_pwd1",
            "token",
            "access_token",
            "refreshToken",
            "refreshTokens",
            "accessTokenValue",
            "tokenValue",
            "X-Api-Key",
            "api key",
            "client_secret",
            "secretKey",
            "secret_id",
            "Authorization",
            "ce-authorization",
            "private_key",
            "credit-card",
            "card_number",
            "cvv",
            "cvv2",
            "card-CVC",
            "pass",
            "pw",
            "credentials",
            "db_creds",
            "passphrase",
            "passcode",
            "otp",
            "loginOTP",
            "jwt",
            "connectionString",
            "DB_PASS",
            "csrf_token",
            "ＰＡＳＳＷＯＲＤ",
            "pass\u{200b}word",
            "p\u{e1}ssword",
            "Passwort",
            "kennwort_neu",
            "contraseña",
            "contrasen\u{303}a",
            "mot_de_passe",
            "mdp",
            "nova_senha",
            "hasło",
            "haslo2",
            "şifre",
            "пароль",
            "ПАРОЛЬ",
            "密码",
            "パスワード",
            "ﾊﾟｽﾜｰﾄﾞ",
            "비밀번호",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "",
            "email",
            "name",
            "tokens",
            "max_tokens",
            "token_count",
            "tokenizer",
            "tokenType",
            "secretary",
            "compass",
            "passenger",
            "key",
            "author",
            "card",
            "pin",
            "page_token",
            "pageToken",
            "nextPageToken",
            "next_token",
            "nextSyncToken",
            "continuation-token",
            "token_expires_at",
            "expires_in",
            "access_token_expires_in",
            "password_changed_at",
            "passwordPolicy",
            "password_length",
            "secretName",
            "secret_version",
            "desenhar",
            "session_id",
            "paid_tokens",
            "signature",
            "motto",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
