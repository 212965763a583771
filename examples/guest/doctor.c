// SPDX-License-Identifier: MIT
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "tool.h"

#define NAME_COLUMN 8
#define TEXT_COLUMN 26
#define LAST_COLUMN 96

struct report {
	bool json;
	unsigned int count;
};

/* Words up to LAST_COLUMN, the next lines below the first. */
static void print_wrapped(const char *text)
{
	size_t column = TEXT_COLUMN;

	while (*text) {
		size_t length = strcspn(text, " ");

		if (column > TEXT_COLUMN && column + 1 + length > LAST_COLUMN) {
			printf("\n%*s", TEXT_COLUMN, "");
			column = TEXT_COLUMN;
		} else if (column > TEXT_COLUMN) {
			putchar(' ');
			column++;
		}
		printf("%.*s", (int)length, text);
		column += length;
		text += length + strspn(text + length, " ");
	}
	putchar('\n');
}

static void print_text(const struct guest_finding *finding)
{
	static const char *const words[] = { "OK", "note", "FAILED" };

	printf("%-*s%-*s", NAME_COLUMN, finding->status < 3 ? words[finding->status] : "?",
	       TEXT_COLUMN - NAME_COLUMN, finding->name);
	print_wrapped(finding->detail);
	if (!finding->remedy[0])
		return;
	printf("%*s", TEXT_COLUMN, "        to do: ");
	print_wrapped(finding->remedy);
}

/* The length of the UTF-8 sequence at `text`; 0 if there is none (RFC 3629). */
static int utf8_length(const unsigned char *text)
{
	int length = text[0] < 0x80 ? 1 :
		     text[0] < 0xc2 ? 0 :
		     text[0] < 0xe0 ? 2 :
		     text[0] < 0xf0 ? 3 :
		     text[0] < 0xf5 ? 4 :
				      0;

	for (int i = 1; i < length; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	/* longer than needed, surrogates, beyond U+10FFFF */
	if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
	    (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
		return 0;
	return length;
}

static void print_json_string(const char *text)
{
	const unsigned char *at = (const unsigned char *)text;

	putchar('"');
	while (*at) {
		int length = utf8_length(at);

		if (length == 0)
			fputs("\\ufffd", stdout);
		else if (*at < 0x20 || *at == 0x7f)
			printf("\\u%04x", *at);
		else if (*at == '"' || *at == '\\')
			printf("\\%c", *at);
		else
			fwrite(at, 1, (size_t)length, stdout);
		at += length ? length : 1;
	}
	putchar('"');
}

static void print_json(const struct guest_finding *finding, bool first)
{
	static const char *const words[] = { "ok", "note", "failed" };

	fputs(first ? "[\n  {\"name\": " : ",\n  {\"name\": ", stdout);
	print_json_string(finding->name);
	printf(", \"status\": \"%s\", \"detail\": ",
	       finding->status < 3 ? words[finding->status] : "unknown");
	print_json_string(finding->detail);
	fputs(", \"remedy\": ", stdout);
	print_json_string(finding->remedy);
	putchar('}');
}

static int on_finding(void *user_data, const struct guest_finding *finding)
{
	struct report *report = user_data;

	if (report->json)
		print_json(finding, report->count == 0);
	else
		print_text(finding);
	report->count++;
	return 0;
}

int doctor_main(int argc, char **argv)
{
	static const struct option known[] = { { "json", no_argument, NULL, 'j' },
					       { "help", no_argument, NULL, 'h' },
					       { 0 } };
	struct guest_error err = { .size = sizeof(err) };
	struct report report = { 0 };
	int option, failed;

	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (option == 'h')
			exit_with_help();
		if (option != 'j')
			fail_usage();
		report.json = true;
	}
	if (optind < argc)
		fail_usage();
	failed = guest_doctor(on_finding, &report, &err);
	if (report.json)
		fputs(report.count ? "\n]\n" : "[]\n", stdout);
	else if (failed >= 0)
		printf("\n%s\n", failed ? "Guests do not work here." : "Guests work here.");
	if (failed < 0)
		fprintf(stderr, "guest: %s\n", err.message);
	return failed != 0;
}
