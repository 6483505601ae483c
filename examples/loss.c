/* A softmax cross-entropy in C that `xent check --program ./loss` can call.

   cc -O2 -o loss loss.c -lm

   Replace cross_entropy() by a call of your own kernel; the rest reads and writes xent.loss/1
   (docs/loss-protocol.md): a line of JSON with a batch, a line of JSON with its losses. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The loss. ---- */

/* The loss of one example and its gradient times `upstream`; computed in double, rounded by the caller. */
static double cross_entropy(const double *x, size_t classes, size_t label, double upstream, double *gradient) {
    size_t top = 0;
    for (size_t i = 1; i < classes; i++)
        if (x[i] > x[top]) top = i;
    double others = 0; /* the sum without its largest term, which is 1 and would swallow a small rest */
    for (size_t i = 0; i < classes; i++) {
        gradient[i] = i == top ? 1 : exp(x[i] - x[top]);
        if (i != top) others += gradient[i];
    }
    double rest = 0; /* minus the label's entry: p - 1 would lose it where p is nearly 1 */
    for (size_t i = 0; i < classes; i++) {
        gradient[i] *= upstream / (1 + others);
        if (i != label) rest += gradient[i];
    }
    gradient[label] = -rest;
#ifdef WRONG /* what a test breaks, to see that the check fails */
    return log(1 + others) + (x[top] - x[label]);
#else
    return log1p(others) + (label == top ? 0 : x[top] - x[label]);
#endif
}

/* ---- The JSON that is read: one object on a line. ---- */

static const char *skip_spaces(const char *at) { return at + strspn(at, " \t\r\n"); }

static const char *skip_string(const char *at) { /* from its first quote to behind its last */
    for (at++; *at && *at != '"'; at++)
        if (*at == '\\' && at[1]) at++;
    return *at ? at + 1 : at;
}

static const char *skip_value(const char *at) { /* a number, a word, a string, a list or an object */
    int depth = 0;
    do {
        if (*at == '"') at = skip_string(at);
        else {
            depth += (*at == '[' || *at == '{') - (*at == ']' || *at == '}');
            at++;
        }
    } while (*at && (depth > 0 || !strchr(",]}", *at)));
    return at;
}

/* The value of a key, NULL where there is none. Keys come in any order; unknown ones are passed over. */
static const char *member(const char *line, const char *key) {
    const char *at = skip_spaces(line);
    if (*at == '{') at++;
    while (*(at = skip_spaces(at)) == '"') {
        const char *name = at + 1;
        at = skip_string(at);
        int is_key = (size_t)(at - name - 1) == strlen(key) && !strncmp(name, key, strlen(key));
        at = skip_spaces(at);
        if (*at == ':') at = skip_spaces(at + 1);
        if (is_key) return at;
        at = skip_value(at);
        if (*at == ',') at++;
    }
    return NULL;
}

static int is_text(const char *value, const char *text) {
    size_t length = strlen(text);
    return value && *value == '"' && !strncmp(value + 1, text, length) && value[length + 1] == '"';
}

/* Reads a list of `count` numbers, each as it is or in quotes: strtod knows 0x1.8p+1, nan and inf. */
static int read_numbers(const char *list, double *numbers, size_t count) {
    if (!list || *list != '[') return 0;
    const char *at = skip_spaces(list + 1);
    for (size_t i = 0; i < count; i++) {
        char *end;
        if (*at == '"') at++;
        numbers[i] = strtod(at, &end);
        if (end == at) return 0;
        at = skip_spaces(*end == '"' ? end + 1 : end);
        if (*at == ',') at = skip_spaces(at + 1);
    }
    return *at == ']';
}

/* ---- The answers that are written. ---- */

static void begin(const char *id) { /* the "id" as it came */
    int length = (int)(skip_value(id) - id);
    printf("{\"schema\": \"xent.loss/1\", \"id\": %.*s", length, id);
}

static void end(void) {
    puts("}");
    fflush(stdout); /* xent waits for the line */
}

static void refuse(const char *id, const char *why) {
    begin(id);
    printf(", \"refused\": \"%s\"", why);
    end();
}

static void describe(const char *id) {
    begin(id);
    fputs(", \"name\": \"loss.c\", \"version\": \"1\", \"labels\": \"indices\", \"gradient\": true", stdout);
    fputs(", \"dtypes\": [\"float32\", \"float64\"], \"takes\": [\"ignore_index\"]", stdout);
    end();
}

static void write_numbers(const char *key, const double *numbers, size_t count, int is_float) {
    printf(", \"%s\": [", key);
    for (size_t i = 0; i < count; i++) {
        double number = is_float ? (double)(float)numbers[i] : numbers[i];
        if (i) fputs(", ", stdout);
        if (isnan(number)) fputs("\"nan\"", stdout);
        else printf("\"%a\"", number);
    }
    putchar(']');
}

/* ---- A request. ---- */

static void *memory(size_t count, size_t size) {
    void *block = calloc(count ? count : 1, size);
    if (!block) {
        fputs("loss.c: no memory\n", stderr);
        exit(1);
    }
    return block;
}

static void answer(const char *id, const char *line) {
    double shape[2], ignored = -100;
    if (!read_numbers(member(line, "shape"), shape, 2)) {
        refuse(id, "no shape of two numbers");
        return;
    }
    size_t examples = (size_t)shape[0], classes = (size_t)shape[1];
    const char *index = member(line, "ignore_index");
    if (index) ignored = strtod(index, NULL);
    double *x = memory(examples * classes, sizeof *x), *gradient = memory(examples * classes, sizeof *x);
    double *labels = memory(examples, sizeof *x), *upstream = memory(examples, sizeof *x);
    double *losses = memory(examples, sizeof *x);
    const char *why = NULL;
    if (!read_numbers(member(line, "logits"), x, examples * classes)) why = "logits that are no numbers";
    if (!read_numbers(member(line, "labels"), labels, examples)) why = "labels that are no numbers";
    if (!read_numbers(member(line, "upstream"), upstream, examples)) why = "no upstream";
    for (size_t n = 0; n < examples && !why; n++) {
        if (labels[n] == ignored) continue; /* a loss and a gradient of 0 */
        if (labels[n] < 0 || labels[n] >= shape[1]) {
            why = "a label out of range";
            break;
        }
        size_t first = n * classes;
        losses[n] = cross_entropy(x + first, classes, (size_t)labels[n], upstream[n], gradient + first);
    }
    if (why) refuse(id, why);
    else {
        int is_float = is_text(member(line, "dtype"), "float32");
        begin(id);
        write_numbers("losses", losses, examples, is_float);
        write_numbers("gradient", gradient, examples * classes, is_float);
        end();
    }
    free(x), free(gradient), free(labels), free(upstream), free(losses);
}

int main(void) {
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, stdin) > 0) {
        const char *id = member(line, "id");
        if (!id) continue;
        if (is_text(member(line, "ask"), "describe")) describe(id);
        else if (is_text(member(line, "ask"), "losses")) answer(id, line);
        else refuse(id, "an unknown question");
    }
    free(line);
    return 0;
}
