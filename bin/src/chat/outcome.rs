//! What comes of requests, and the commands about groups.

use parlor_core::client::{Outcome, Ticket};
use parlor_core::id::{GroupId, UserId};
use parlor_core::log::{FriendState, GroupChange, JoinPolicy};
use parlor_core::name::Name;
use parlor_core::protocol::reply::GroupReply;
use parlor_core::protocol::request::{GroupOtherAction, GroupSelfAction};
use parlor_core::protocol::{ErrorCode, MAX_DESCRIPTION_BYTES, Reply, Request};

use super::command::{Command, GroupAction, GroupField, GroupPersonAction, PersonAction, quote};
use super::desk::{Desk, Intent, Report};
use super::text::{clean, one_line};

/// How many items of a list are shown.
const LIST: u32 = 200;

impl<U: Send + 'static> Desk<U> {
    /// Does what a request was made for.
    pub(super) fn on_outcome(&mut self, ticket: Ticket, intent: Intent, outcome: &Outcome) {
        match (&intent, outcome) {
            (Intent::Send(to), Outcome::Done(Reply::Appended { seq, at })) => {
                self.state.settle(*to, ticket, Some((*seq, *at)));
            }
            (Intent::Send(to), _) => self.state.settle(*to, ticket, None),
            (Intent::Read(conversation), _) => self.read_marked(*conversation),
            _ => {}
        }
        match outcome {
            Outcome::Done(reply) => self.on_done(intent, reply),
            Outcome::Refused(error) => match intent {
                Intent::Quiet | Intent::Read(_) => {}
                Intent::Naming(user) => {
                    if let Ok(name) = Name::new(&format!("user-{user}")) {
                        self.state.names.insert(user, name);
                    }
                }
                // The account is there already: perhaps it is one's own.
                Intent::Register(name, password) if error.code == ErrorCode::NameTaken => {
                    self.login(name, password);
                }
                _ => self.report_error(error),
            },
            Outcome::Unknown => match intent {
                Intent::Naming(user) => self.name_unknown(user),
                Intent::Quiet | Intent::Read(_) | Intent::History(_) => {}
                _ => {
                    let sentence = "the connection broke before the answer came: it may be done";
                    self.report(Report::Error("unknown".to_owned(), sentence.to_owned()));
                }
            },
            Outcome::NotSent(reason) => match intent {
                Intent::Naming(user) => self.name_unknown(user),
                Intent::Quiet | Intent::Read(_) => {}
                _ => self.report_not_sent(*reason),
            },
        }
    }

    fn on_done(&mut self, intent: Intent, reply: &Reply) {
        match (intent, reply) {
            (Intent::Say(said), _) => self.report(Report::Ok(said)),
            (Intent::Register(name, password), _) => {
                let said = format!("registered {}", quote(name.as_str()));
                self.report(Report::Ok(said));
                self.login(name, password);
            }
            (Intent::Login, Reply::Session(session)) => {
                self.state.begin(session);
                let said = format!("login {}", quote(session.name.as_str()));
                self.report(Report::Ok(said));
            }
            (Intent::Naming(_), Reply::User { user, name, .. }) => {
                self.state.names.insert(*user, name.clone());
            }
            (Intent::Lookup(asked, command), Reply::User { user, name, .. }) => {
                self.state.names.insert(*user, name.clone());
                if self.state.find(&asked).is_some() {
                    self.execute(*command);
                }
            }
            (Intent::Added(name), Reply::FriendRequested { user, state }) => {
                self.state.names.entry(*user).or_insert(name);
                self.on_friendship(PersonAction::Add, *user, *state);
            }
            (Intent::Friendship(action, user), Reply::FriendState { state }) => {
                self.on_friendship(action, user, *state);
            }
            (Intent::History(conversation), Reply::History { messages, more, .. }) => {
                self.state.on_history(conversation, messages, !more);
                self.ask_names(messages);
            }
            (Intent::Print, Reply::History { messages, .. }) => self.ask_names(messages),
            (Intent::GroupCreated(name), Reply::GroupCreated { group }) => {
                self.state.groups.insert(*group, name.clone());
                let said = format!("group create #{group} {}", quote(name.as_str()));
                self.report(Report::Ok(said));
                self.open_conversation(parlor_core::id::ConversationRef::Group(*group));
            }
            (Intent::GroupJoined(group), Reply::GroupJoined { state }) => {
                let said = format!("group join #{group} {}", state.as_str());
                self.report(Report::Ok(said));
            }
            (Intent::GroupList(group), reply) => self.on_group_list(group, reply),
            (Intent::Logout, _) => self.report(Report::Ok("logout".to_owned())),
            _ => {}
        }
    }

    fn on_friendship(&mut self, action: PersonAction, user: UserId, state: FriendState) {
        self.state.set_friend(user, state);
        let action = match action {
            PersonAction::Add => "add",
            PersonAction::Accept => "accept",
            PersonAction::Reject => "reject",
            PersonAction::Remove => "remove",
            PersonAction::Block => "block",
            PersonAction::Unblock => "unblock",
        };
        let name = quote(&self.state.name(user));
        self.report(Report::Ok(format!("{action} {name} {}", state.as_str())));
    }

    fn on_group_list(&mut self, group: GroupId, reply: &Reply) {
        match reply {
            Reply::Members(members) => {
                for member in &members.items {
                    self.state.names.insert(member.user, member.name.clone());
                    let online = if member.online == Some(true) {
                        " online"
                    } else {
                        ""
                    };
                    let name = quote(&clean(member.name.as_str()));
                    let role = member.role.as_str();
                    self.report(Report::Item(format!(
                        "member #{group} {name} {role}{online}"
                    )));
                }
                let said = format!("group members {}", members.items.len());
                self.report(Report::Ok(said));
            }
            Reply::Requests(requests) => {
                for asking in &requests.items {
                    self.state.names.insert(asking.user, asking.name.clone());
                    let name = quote(&clean(asking.name.as_str()));
                    self.report(Report::Item(format!("request #{group} {name}")));
                }
                let said = format!("group requests {}", requests.items.len());
                self.report(Report::Ok(said));
            }
            Reply::Group(info) => self.on_group_info(info),
            _ => {}
        }
    }

    fn on_group_info(&mut self, info: &GroupReply) {
        let item = format!(
            "group #{} {} members {} join {} {}",
            info.group,
            quote(&clean(info.name.as_str())),
            info.members,
            info.join.as_str(),
            one_line(&info.description),
        );
        self.report(Report::Item(item));
        self.report(Report::Ok("group info".to_owned()));
    }

    /// `/group create`.
    pub(super) fn group_create(&mut self, name: Name, join: JoinPolicy) {
        let request = Request::GroupCreate {
            name: name.clone(),
            description: "".into(),
            join,
            key: None,
        };
        self.ask(request, Intent::GroupCreated(name));
    }

    /// `/group join`.
    pub(super) fn group_join(&mut self, group: GroupId) {
        let action = GroupSelfAction::Join;
        let request = Request::GroupSelf { action, group };
        self.ask(request, Intent::GroupJoined(group));
    }

    /// `/group leave` and what else concerns the open group alone.
    pub(super) fn group(&mut self, action: GroupAction) {
        let Some(group) = self.open_group() else {
            return;
        };
        let (after, limit) = (None, LIST);
        let own = |action| Request::GroupSelf { action, group };
        let (request, intent) = match action {
            GroupAction::Leave => (
                own(GroupSelfAction::Leave),
                Intent::Say(format!("group leave #{group}")),
            ),
            GroupAction::Disband => (
                own(GroupSelfAction::Disband),
                Intent::Say(format!("group disband #{group}")),
            ),
            GroupAction::Members => (
                Request::GroupMembers {
                    group,
                    after,
                    limit,
                },
                Intent::GroupList(group),
            ),
            GroupAction::Requests => (
                Request::GroupRequests {
                    group,
                    after,
                    limit,
                },
                Intent::GroupList(group),
            ),
            GroupAction::Info => (Request::Group { group }, Intent::GroupList(group)),
        };
        self.ask(request, intent);
    }

    /// `/group invite` and what else concerns a user and the open group.
    pub(super) fn group_person(&mut self, action: GroupPersonAction, name: &Name) {
        let Some(group) = self.open_group() else {
            return;
        };
        let again = || Command::GroupPerson(action, name.clone());
        let Some(user) = self.resolve(name, again) else {
            return;
        };
        let other = |action| Request::GroupOther {
            action,
            group,
            user,
        };
        let (word, request) = match action {
            GroupPersonAction::Invite => ("invite", other(GroupOtherAction::Invite)),
            GroupPersonAction::Approve => ("approve", other(GroupOtherAction::Approve)),
            GroupPersonAction::Reject => ("reject", other(GroupOtherAction::Reject)),
            GroupPersonAction::Remove => ("remove", other(GroupOtherAction::Remove)),
            GroupPersonAction::Role(role) => ("role", Request::GroupRole { group, user, role }),
        };
        let said = format!("group {word} #{group} {}", quote(name.as_str()));
        self.ask(request, Intent::Say(said));
    }

    /// `/group update`.
    pub(super) fn group_update(&mut self, field: GroupField) {
        let Some(group) = self.open_group() else {
            return;
        };
        let mut change = GroupChange::default();
        match field {
            GroupField::Name(name) => change.name = Some(name),
            GroupField::Description(text) if text.len() > MAX_DESCRIPTION_BYTES => {
                self.report_error(&ErrorCode::TooLarge.into());
                return;
            }
            GroupField::Description(text) => change.description = Some(text.into()),
            GroupField::Join(join) => change.join = Some(join),
        }
        let request = Request::GroupUpdate { group, change };
        self.ask(request, Intent::Say(format!("group update #{group}")));
    }
}
