/* Plugins for MySQL 8.0 to 9 that make the server answer like Amazon Aurora. The few declarations of the server's plugin
   interface that are needed are written down here, so that no headers are.

   sim                     what the SQL functions read: @@sim_instance, @@sim_state_dir; gives version_comment the value
                           of sim_comment
   aurora                  @@aurora_server_id, @@aurora_version, the table and the role of Aurora; for Aurora only
   AWSAuthenticationPlugin asks the client for its token in the clear */

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

typedef void *THD;

enum { PARSER_PLUGIN = 2, AUDIT_PLUGIN = 5, AUTHENTICATION_PLUGIN = 7 };
enum { VARIABLE_STRING_READ_ONLY = 0x0005 | 0x0200 };
enum { AUDIT_CLASS_PARSE = 2, PREPARSE = 1 };
enum { CR_OK = -1, CR_ERROR = 0 };

struct text { const char *str; size_t length; };
struct parse_event { int subclass; int *flags; struct text query; struct text *rewritten; };
struct parser { int version; int (*parse)(void *), (*init)(void *), (*deinit)(void *); };
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

/* Two functions that the server exports, by their C++ names: intern_find_sys_var(const char *, size_t) and
   sys_var::global_var_ptr(). A server that lacks them refuses to load this library. */
void *server_variable(const char *name, size_t length) __asm__("_Z19intern_find_sys_varPKcm");
char **value_of(void *variable) __asm__("_ZN7sys_var14global_var_ptrEv");

/* No option sets version_comment, and a statement edited to ask for another variable would be answered with the name of
   that one. So the value itself is replaced, before there are clients; the server frees neither. */
static int set_comment(void *plugin) {
  void *variable = server_variable("version_comment", 0);
  if (!variable) return 1;
  if (*comment) *value_of(variable) = comment;
  return 0;
}

/* Statements are edited in their own buffer: what takes the place of something is never longer, blanks fill the rest.
   (The documented way, a new buffer and a flag, makes the server parse again outside of prepare, where `?` is an error.) */
struct rule { const char *from, *to; };
static const struct rule rules[] = {
  {"information_schema.replica_host_status", "aurora_sim.replica_host_status"},
  {"@@innodb_read_only", "@@global.read_only"},
  {"@@global.innodb_read_only", "@@global.read_only"},
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

static int notify(THD thd, int class, const void *event) {
  const struct parse_event *parse = event;
  if (class != AUDIT_CLASS_PARSE || parse->subclass != PREPARSE) return 0;
  for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
    edit((char *)parse->query.str, parse->query.length, &rules[i]);
  return 0;
}

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

static int nothing(void *argument) { return 0; }

/* A plugin has to be of some type; a parser for full-text indexes that no index names is asked for nothing. */
static struct parser sim = {0x0101, nothing, nothing, nothing};
static struct audit aurora = {0x0401, 0, notify, {0, 0, PREPARSE}};
static struct authentication authentication =
  {0x0201, "mysql_clear_password", authenticate, generate, validate, salt, 0, 0};

int _mysql_plugin_interface_version_ = 0x010b;
int _mysql_sizeof_struct_st_plugin_ = sizeof(struct plugin);
struct plugin _mysql_plugin_declarations_[] = {
  {PARSER_PLUGIN, &sim, "sim", "aurora-sim", "simulator of Aurora", 1, set_comment, 0, nothing, 0x0100, 0,
   sim_variables, 0, 0},
  {AUDIT_PLUGIN, &aurora, "aurora", "aurora-sim", "variables of Aurora", 1, nothing, 0, nothing, 0x0100, 0,
   aurora_variables, 0, 0},
  {AUTHENTICATION_PLUGIN, &authentication, "AWSAuthenticationPlugin", "aurora-sim", "tokens of IAM", 1, nothing, 0,
   nothing, 0x0100, 0, 0, 0, 0},
  {0}};
