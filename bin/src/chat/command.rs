//! What people type: slash commands, and text for the open conversation.

use std::time::Duration;

use parlor_core::id::Seq;
use parlor_core::log::{JoinPolicy, Role};
use parlor_core::name::Name;

/// A line, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Text for the open conversation.
    Text(String),
    /// `/help`.
    Help,
    /// `/friends`, `/groups`, `/requests`.
    List(Listing),
    /// `/open NAME` or `/open #GROUP`.
    Open(Place),
    /// `/add`, `/accept`, ..: something about another user.
    Person(PersonAction, Name),
    /// `/group create NAME`.
    GroupCreate(Name, JoinPolicy),
    /// `/group join ID`.
    GroupJoin(u64),
    /// `/group leave`, `/group disband`, `/group members`, `/group requests`, `/group info`.
    Group(GroupAction),
    /// `/group invite NAME`, `/group approve NAME`, ..
    GroupPerson(GroupPersonAction, Name),
    /// `/group update FIELD TEXT`.
    GroupUpdate(GroupField),
    /// `/edit [N] TEXT`: the last message of one's own where no number is given.
    Edit(Option<Seq>, String),
    /// `/recall [N]`.
    Recall(Option<Seq>),
    /// `/reply N TEXT`.
    Reply(Seq, String),
    /// `/history [N]`: prints or loads older messages.
    History(u32),
    /// `/password OLD NEW`.
    Password(Option<(String, String)>),
    /// `/logout`.
    Logout,
    /// `/quit`.
    Quit,
    /// `/wait SECONDS`.
    Wait(Duration),
    /// `/await COUNT`.
    Await(u64),
    /// `/expect TEXT`.
    Expect(String),
}

/// A list to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listing {
    /// Friends and requests.
    Friends,
    /// Groups and invitations.
    Groups,
}

/// A conversation, as people name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The direct one with this user.
    Person(Name),
    /// A group, by number.
    GroupId(u64),
    /// A group, by name.
    GroupName(Name),
}

/// What to do about another user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PersonAction {
    /// `/add`.
    Add,
    /// `/accept`.
    Accept,
    /// `/reject`.
    Reject,
    /// `/remove`.
    Remove,
    /// `/block`.
    Block,
    /// `/unblock`.
    Unblock,
}

/// What to do about the open group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GroupAction {
    /// `/group leave`.
    Leave,
    /// `/group disband`.
    Disband,
    /// `/group members`.
    Members,
    /// `/group requests`.
    Requests,
    /// `/group info`.
    Info,
}

/// What to do about a user and the open group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GroupPersonAction {
    /// `/group invite`.
    Invite,
    /// `/group approve`.
    Approve,
    /// `/group reject`.
    Reject,
    /// `/group remove`.
    Remove,
    /// `/group role NAME ROLE`.
    Role(Role),
}

/// What to change of the open group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum GroupField {
    /// `/group update name TEXT`.
    Name(Name),
    /// `/group update description TEXT`.
    Description(String),
    /// `/group update join open|approval|invite`.
    Join(JoinPolicy),
}

/// What `/help` shows, each with its explanation.
pub(super) const HELP: &[(&str, &str)] = &[
    ("/open NAME|#GROUP", "open a conversation"),
    ("/add NAME", "ask for friendship"),
    ("/accept, /reject NAME", "answer a request"),
    (
        "/remove, /block, /unblock NAME",
        "end a friendship, keep someone away, or not",
    ),
    ("/friends, /groups", "list them"),
    ("/reply N TEXT", "answer message N"),
    ("/edit [N] TEXT", "change a message of yours (the last one)"),
    ("/recall [N]", "erase a message of yours (the last one)"),
    ("/history [COUNT]", "load older messages"),
    ("/group create NAME [open|approval|invite]", "make a group"),
    ("/group join ID", "join a group, or accept an invitation"),
    (
        "/group leave|disband|members|requests|info",
        "the open group",
    ),
    (
        "/group invite|approve|reject|remove NAME",
        "the open group's people",
    ),
    ("/group role NAME owner|admin|member|muted", "give a role"),
    (
        "/group update name|description|join TEXT",
        "change the group",
    ),
    ("/password OLD NEW", "change the password"),
    ("/logout, /quit", "end the session, or the program"),
    ("//TEXT", "send text that begins with a slash"),
];

/// Understands a line; the error is a sentence for the one who typed it.
pub(super) fn parse(line: &str) -> Result<Command, String> {
    let line = line.trim_end_matches(['\r', '\n']);
    let Some(rest) = line.strip_prefix('/') else {
        return Ok(Command::Text(line.to_owned()));
    };
    if rest.starts_with('/') {
        return Ok(Command::Text(rest.to_owned()));
    }
    let (word, rest) = split(rest);
    let person = |action| Ok(Command::Person(action, name(rest)?));
    match word {
        "help" | "?" => Ok(Command::Help),
        "friends" => Ok(Command::List(Listing::Friends)),
        "groups" => Ok(Command::List(Listing::Groups)),
        "open" => Ok(Command::Open(place(rest)?)),
        "add" => person(PersonAction::Add),
        "accept" => person(PersonAction::Accept),
        "reject" => person(PersonAction::Reject),
        "remove" => person(PersonAction::Remove),
        "block" => person(PersonAction::Block),
        "unblock" => person(PersonAction::Unblock),
        "group" => group(rest),
        "edit" => edit(rest),
        "recall" if rest.is_empty() => Ok(Command::Recall(None)),
        "recall" => Ok(Command::Recall(Some(seq(rest)?))),
        "reply" => reply(rest),
        "history" if rest.is_empty() => Ok(Command::History(50)),
        "history" => Ok(Command::History(number(rest)?.clamp(1, 200))),
        "password" if rest.is_empty() => Ok(Command::Password(None)),
        "password" => match split(rest) {
            (_, "") => Err("give the old and the new password".to_owned()),
            (old, new) => Ok(Command::Password(Some((old.to_owned(), new.to_owned())))),
        },
        "logout" => Ok(Command::Logout),
        "quit" | "exit" => Ok(Command::Quit),
        "wait" => wait(rest),
        "await" => Ok(Command::Await(number(rest)?.into())),
        "expect" if !rest.is_empty() => Ok(Command::Expect(rest.to_owned())),
        _ => Err(format!("there is no command /{word}; see /help")),
    }
}

/// Writes a name so that [`parse`] reads it as one word.
pub(super) fn quote(name: &str) -> String {
    if name.contains([' ', '"', '\\']) || name.chars().any(char::is_whitespace) {
        format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        name.to_owned()
    }
}

fn group(rest: &str) -> Result<Command, String> {
    let (word, rest) = split(rest);
    let person = |action| Ok(Command::GroupPerson(action, name(rest)?));
    match word {
        "create" => {
            let (title, policy) = word_or_quoted(rest)?;
            let policy = match policy {
                "" => JoinPolicy::Open,
                other => policy_of(other)?,
            };
            Ok(Command::GroupCreate(checked(&title)?, policy))
        }
        "join" => Ok(Command::GroupJoin(group_id(rest)?)),
        "leave" => Ok(Command::Group(GroupAction::Leave)),
        "disband" => Ok(Command::Group(GroupAction::Disband)),
        "members" => Ok(Command::Group(GroupAction::Members)),
        "requests" => Ok(Command::Group(GroupAction::Requests)),
        "info" => Ok(Command::Group(GroupAction::Info)),
        "invite" => person(GroupPersonAction::Invite),
        "approve" => person(GroupPersonAction::Approve),
        "reject" => person(GroupPersonAction::Reject),
        "remove" => person(GroupPersonAction::Remove),
        "role" => {
            let (who, role) = word_or_quoted(rest)?;
            let role = Role::from_name(role).ok_or("a role is owner, admin, member or muted")?;
            let action = GroupPersonAction::Role(role);
            Ok(Command::GroupPerson(action, checked(&who)?))
        }
        "update" => {
            let (field, text) = split(rest);
            Ok(Command::GroupUpdate(match field {
                "name" => GroupField::Name(name(text)?),
                "description" => GroupField::Description(text.to_owned()),
                "join" => GroupField::Join(policy_of(text)?),
                _ => return Err("update name, description or join".to_owned()),
            }))
        }
        _ => Err(format!("there is no command /group {word}; see /help")),
    }
}

fn edit(rest: &str) -> Result<Command, String> {
    let (first, text) = split(rest);
    match first.parse() {
        Ok(seq) if !text.is_empty() => Ok(Command::Edit(Some(Seq(seq)), text.to_owned())),
        _ if rest.is_empty() => Err("give the new text".to_owned()),
        _ => Ok(Command::Edit(None, rest.to_owned())),
    }
}

fn reply(rest: &str) -> Result<Command, String> {
    match split(rest) {
        (_, "") => Err("give the message's number and a text".to_owned()),
        (number, text) => Ok(Command::Reply(seq(number)?, text.to_owned())),
    }
}

fn wait(rest: &str) -> Result<Command, String> {
    let seconds: Result<f64, _> = rest.parse();
    let wait = seconds.map(Duration::try_from_secs_f64);
    match wait {
        Ok(Ok(wait)) => Ok(Command::Wait(wait)),
        _ => Err("give the seconds to wait".to_owned()),
    }
}

fn place(text: &str) -> Result<Place, String> {
    let Some(group) = text.strip_prefix('#') else {
        return Ok(Place::Person(name(text)?));
    };
    match group.parse() {
        Ok(id) => Ok(Place::GroupId(id)),
        Err(_) => Ok(Place::GroupName(name(group)?)),
    }
}

fn policy_of(text: &str) -> Result<JoinPolicy, String> {
    JoinPolicy::from_name(text).ok_or_else(|| "a group is open, approval or invite".to_owned())
}

fn group_id(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix('#').unwrap_or(text);
    digits
        .parse()
        .map_err(|_| "give the group's number".to_owned())
}

fn seq(text: &str) -> Result<Seq, String> {
    text.parse()
        .map(Seq)
        .map_err(|_| "give the message's number".to_owned())
}

fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "give a number".to_owned())
}

/// Reads a name that is all of the text, quoted or not.
fn name(text: &str) -> Result<Name, String> {
    if text.starts_with('"') {
        let (word, rest) = word_or_quoted(text)?;
        return match rest {
            "" => checked(&word),
            _ => Err("nothing may follow the name".to_owned()),
        };
    }
    checked(text)
}

fn checked(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|error| format!("the name {error}"))
}

/// Takes the first word, which may be quoted.
fn word_or_quoted(text: &str) -> Result<(String, &str), String> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (word, rest) = split(text);
        return Ok((word.to_owned(), rest));
    };
    let mut word = String::new();
    let mut escaped = false;
    for (index, character) in quoted.char_indices() {
        match character {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => {
                let rest = quoted.get(index + 1..).unwrap_or_default();
                return Ok((word, rest.trim()));
            }
            other => {
                word.push(other);
                escaped = false;
            }
        }
    }
    Err("the closing quotation mark is missing".to_owned())
}

/// Splits the first word from the rest.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    match text.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim()),
        None => (text, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn plain_lines_are_text_and_two_slashes_escape_one() {
        assert_eq!(
            parse("hello  you\n"),
            Ok(Command::Text("hello  you".into()))
        );
        assert_eq!(
            parse("//etc/passwd"),
            Ok(Command::Text("/etc/passwd".into()))
        );
        assert_eq!(parse(""), Ok(Command::Text(String::new())));
    }

    #[test]
    fn names_may_have_spaces_and_quotes() {
        let add = |text: &str| Ok(Command::Person(PersonAction::Add, named(text)));
        assert_eq!(parse("/add bob"), add("bob"));
        assert_eq!(parse("/add  ann lee "), add("ann lee"));
        for odd in ["ann lee", "the \"boss\"", "back\\slash", "#7"] {
            assert_eq!(parse(&format!("/add {}", quote(odd))), add(odd));
        }
        assert!(parse("/add \"ann").is_err());
        assert!(parse("/add \"ann\" lee").is_err());
        assert!(parse("/add").is_err());
    }

    #[test]
    fn places_are_people_or_groups() {
        assert_eq!(
            parse("/open bob"),
            Ok(Command::Open(Place::Person(named("bob"))))
        );
        assert_eq!(parse("/open #12"), Ok(Command::Open(Place::GroupId(12))));
        let crew = Place::GroupName(named("crew"));
        assert_eq!(parse("/open #crew"), Ok(Command::Open(crew)));
    }

    #[test]
    fn messages_are_edited_recalled_and_answered_by_number() {
        let hi = || "hi there".to_owned();
        assert_eq!(
            parse("/edit 4 hi there"),
            Ok(Command::Edit(Some(Seq(4)), hi()))
        );
        assert_eq!(parse("/edit hi there"), Ok(Command::Edit(None, hi())));
        assert_eq!(parse("/edit 4"), Ok(Command::Edit(None, "4".into())));
        assert!(parse("/edit").is_err());
        assert_eq!(parse("/recall"), Ok(Command::Recall(None)));
        assert_eq!(parse("/recall 9"), Ok(Command::Recall(Some(Seq(9)))));
        assert_eq!(parse("/reply 3 hi there"), Ok(Command::Reply(Seq(3), hi())));
        assert!(parse("/reply 3").is_err());
        assert!(parse("/reply x hi").is_err());
    }

    #[test]
    fn groups_have_their_own_commands() {
        let create = |name: &str, join| Ok(Command::GroupCreate(named(name), join));
        assert_eq!(
            parse("/group create crew"),
            create("crew", JoinPolicy::Open)
        );
        assert_eq!(
            parse("/group create \"the crew\" invite"),
            create("the crew", JoinPolicy::Invite)
        );
        assert!(parse("/group create crew never").is_err());
        assert_eq!(parse("/group join #7"), Ok(Command::GroupJoin(7)));
        assert_eq!(
            parse("/group role bob admin"),
            Ok(Command::GroupPerson(
                GroupPersonAction::Role(Role::Admin),
                named("bob")
            ))
        );
        assert!(parse("/group role bob king").is_err());
        assert_eq!(
            parse("/group update join approval"),
            Ok(Command::GroupUpdate(GroupField::Join(JoinPolicy::Approval)))
        );
        assert_eq!(
            parse("/group update description a b"),
            Ok(Command::GroupUpdate(GroupField::Description("a b".into())))
        );
        assert!(parse("/group dance").is_err());
    }

    #[test]
    fn scripts_can_wait() {
        assert_eq!(
            parse("/wait 0.5"),
            Ok(Command::Wait(Duration::from_millis(500)))
        );
        assert!(parse("/wait -1").is_err());
        assert!(parse("/wait NaN").is_err());
        assert_eq!(parse("/await 3"), Ok(Command::Await(3)));
        assert_eq!(parse("/expect a b"), Ok(Command::Expect("a b".into())));
        assert!(parse("/expect").is_err());
    }

    #[test]
    fn an_unknown_command_points_to_the_help() {
        assert!(parse("/dance").unwrap_err().contains("/help"));
    }
}
