/* Plugins for MySQL 8.0 to 9 that make the server answer like Amazon Aurora. The few declarations of the server's plugin
   interface that are needed are written down here, so that no headers are.

   sim                     what the SQL functions read: @@sim_instance, @@sim_state_dir; @@sim_comment in place of
                           @@version_comment
   aurora                  @@aurora_server_id, @@aurora_version, the table and the role of Aurora; for Aurora only
   AWSAuthenticationPlugin asks the client for its token in the clear */

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

typedef void *THD;

enum { AUDIT_PLUGIN = 5, AUTHENTICATION_PLUGIN = 7 };
enum { VARIABLE_STRING_READ_ONLY = 0x0005 | 0x0200 };
enum { AUDIT_CLASS_PARSE = 2, PREPARSE = 1 };
enum { CR_OK = -1, CR_ERROR = 0 };

struct text { const char *str; size_t length; };
struct parse_event { int subclass; int *flags; struct text query; struct text *rewritten; };
struct audit { int version; void (*release)(THD); int (*notify)(THD, int, const void *); unsigned long mask[16]; };
struct variable { int flags; const char *name, *comment; void *check, *update; char **value; char *preset; };
struct plugin {
  int type; void *info; const char *name, *author, *description; int license; int (*init)(void *);
  int (*check_uninstall)(void *); int (*deinit)(void *); unsigned version; void *status; void *variables;
  void *reserved; unsigned long flags;
};

static char *instance, *state_dir, *comment, *server_id, *version;

static struct variable
  instance_variable = {VARIABLE_STRING_READ_ONLY, "instance", "name of the instance", 0, 0, &instance, ""},
  state_variable = {VARIABLE_STRING_READ_ONLY, "state_dir", "folder of the state files", 0, 0, &state_dir, "/nonexistent"},
  comment_variable = {VARIABLE_STRING_READ_ONLY, "comment", "answer for version_comment", 0, 0, &comment, ""},
  server_id_variable = {VARIABLE_STRING_READ_ONLY, "server_id", "name of the instance", 0, 0, &server_id, ""},
  version_variable = {VARIABLE_STRING_READ_ONLY, "version", "version of Aurora", 0, 0, &version, ""};
static void *sim_variables[] = {&instance_variable, &state_variable, &comment_variable, 0};
static void *aurora_variables[] = {&server_id_variable, &version_variable, 0};

/* Statements are edited in their own buffer: what takes the place of something is never longer, blanks fill the rest.
   (The documented way, a new buffer and a flag, makes the server parse again outside of prepare, where `?` is an error.) */
struct rule { const char *from, *to; };
static const struct rule sim_rules[] = {
  {"@@version_comment", "@@sim_comment"},
  {"@@global.version_comment", "@@global.sim_comment"},
  {"'version_comment'", "'sim_comment'"},
  {0},
};
static const struct rule aurora_rules[] = {
  {"information_schema.replica_host_status", "aurora_sim.replica_host_status"},
  {"@@innodb_read_only", "@@global.read_only"},
  {"@@global.innodb_read_only", "@@global.read_only"},
  {0},
};

static void edit(char *text, size_t length, const struct rule *rule) {
  size_t from = strlen(rule->from), to = strlen(rule->to);
  for (size_t i = 0; i + from <= length; i++) {
    if (strncasecmp(text + i, rule->from, from) == 0) {
      memcpy(text + i, rule->to, to);
      memset(text + i + to, ' ', from - to);
      i += from - 1;
    }
  }
}

static int edit_by(const struct rule *rules, int class, const void *event) {
  const struct parse_event *parse = event;
  if (class != AUDIT_CLASS_PARSE || parse->subclass != PREPARSE) return 0;
  for (; rules->from; rules++) edit((char *)parse->query.str, parse->query.length, rules);
  return 0;
}
static int sim_notify(THD thd, int class, const void *event) { return edit_by(sim_rules, class, event); }
static int aurora_notify(THD thd, int class, const void *event) { return edit_by(aurora_rules, class, event); }

struct vio { int (*read)(struct vio *, unsigned char **); int (*write)(struct vio *, const unsigned char *, int); };
struct authentication {
  int version; const char *client_plugin; int (*authenticate)(struct vio *, void *);
  int (*generate)(char *, unsigned *, const char *, unsigned); int (*validate)(char *, unsigned);
  int (*salt)(const char *, unsigned, unsigned char *, unsigned char *); unsigned long flags; void *compare;
};

/* Accepts the token that the file `iam_token` in the state folder holds, or any that is not empty when there is no file. */
static int authenticate(struct vio *vio, void *info) {
  unsigned char *token;
  int length = vio->read(vio, &token);
  if (length < 2) return CR_ERROR;
  char path[4096], wanted[8192];
  snprintf(path, sizeof path, "%s/iam_token", state_dir);
  FILE *file = fopen(path, "r");
  if (!file) return CR_OK;
  size_t size = fread(wanted, 1, sizeof wanted - 1, file);
  fclose(file);
  while (size && wanted[size - 1] == '\n') size--;
  wanted[size] = 0;
  return strcmp((char *)token, wanted) == 0 ? CR_OK : CR_ERROR;
}

static int generate(char *out, unsigned *out_length, const char *in, unsigned in_length) {
  if (*out_length < in_length) return 1;
  memcpy(out, in, in_length);
  *out_length = in_length;
  return 0;
}
static int validate(char *text, unsigned length) { return 0; }
static int salt(const char *text, unsigned length, unsigned char *out, unsigned char *out_length) {
  *out_length = 0;
  return 0;
}

static int nothing(void *plugin) { return 0; }

static struct audit sim = {0x0401, 0, sim_notify, {0, 0, PREPARSE}};
static struct audit aurora = {0x0401, 0, aurora_notify, {0, 0, PREPARSE}};
static struct authentication authentication =
  {0x0201, "mysql_clear_password", authenticate, generate, validate, salt, 0, 0};

int _mysql_plugin_interface_version_ = 0x010b;
int _mysql_sizeof_struct_st_plugin_ = sizeof(struct plugin);
struct plugin _mysql_plugin_declarations_[] = {
  {AUDIT_PLUGIN, &sim, "sim", "aurora-sim", "simulator of Aurora", 1, nothing, 0, nothing, 0x0100, 0,
   sim_variables, 0, 0},
  {AUDIT_PLUGIN, &aurora, "aurora", "aurora-sim", "variables of Aurora", 1, nothing, 0, nothing, 0x0100, 0,
   aurora_variables, 0, 0},
  {AUTHENTICATION_PLUGIN, &authentication, "AWSAuthenticationPlugin", "aurora-sim", "tokens of IAM", 1, nothing, 0,
   nothing, 0x0100, 0, 0, 0, 0},
  {0}};
