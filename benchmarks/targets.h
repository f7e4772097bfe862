/* The file of targets: a line for each client, its request target and, after tabs, headers. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct target {
    char *target, *headers;
};

/* Read the next line; false at the end of the file. */
static bool read_target(FILE *file, struct target *found) {
    char *line = NULL;
    size_t room = 0;
    ssize_t size = getline(&line, &room, file);
    if (size > 0) {
        line[strcspn(line, "\n")] = '\0';
        char *at = found->headers = calloc(1, (size_t)size * 2 + 4);
        char *word = strtok(line, "\t");
        found->target = strdup(word ? word : "/");
        while ((word = strtok(NULL, "\t")))
            at += sprintf(at, "%s\r\n", word);
    }
    free(line);
    return size > 0;
}
