#include "vault/package_texts.h"

#include <string.h>
#include <strings.h>

static const char *const texts[TR_TEXT_COUNT][TR_LANG_COUNT] = {
#define TR_TEXT_ROW(name, en, de, fr, it) [TR_T_##name] = {(en), (de), (fr), (it)},
    TR_TEXTS(TR_TEXT_ROW)
#undef TR_TEXT_ROW
};

static const struct {
    const char *code;
    const char *texts[TR_LANG_COUNT];
} codes[] = {
    /* roles */
    {"subject", {"data subject", "betroffene Person", "personne concernée", "persona interessata"}},
    {"service", {"service", "Dienst", "service", "servizio"}},
    {"officer",
     {"data protection officer", "Datenschutzstelle", "service de protection des données",
      "servizio di protezione dei dati"}},
    {"operator", {"operator", "Betrieb", "exploitation", "gestore"}},
    {"auditor", {"auditor", "Revision", "audit", "revisione"}},
    /* what a grant allows */
    {"read", {"read", "lesen", "lire", "leggere"}},
    {"write", {"write", "schreiben", "écrire", "scrivere"}},
    {"export", {"export", "exportieren", "exporter", "esportare"}},
    /* Art. 5 let. c FADP */
    {"religious-philosophical-political-union",
     {"religious, philosophical, political or trade union views or activities",
      "religiöse, weltanschauliche, politische oder gewerkschaftliche Ansichten oder Tätigkeiten",
      "opinions ou activités religieuses, philosophiques, politiques ou syndicales",
      "opinioni o attività religiose, filosofiche, politiche o sindacali"}},
    {"health", {"health", "Gesundheit", "santé", "salute"}},
    {"intimate", {"private sphere", "Intimsphäre", "sphère intime", "sfera intima"}},
    {"racial-ethnic",
     {"race or ethnicity", "Zugehörigkeit zu einer Rasse oder Ethnie", "origine raciale ou ethnique",
      "appartenenza a una razza o a un’etnia"}},
    {"genetic", {"genetic data", "genetische Daten", "données génétiques", "dati genetici"}},
    {"biometric", {"biometric data", "biometrische Daten", "données biométriques", "dati biometrici"}},
    {"criminal-administrative",
     {"administrative and criminal proceedings or sanctions",
      "verwaltungs- und strafrechtliche Verfolgungen oder Sanktionen",
      "poursuites ou sanctions pénales et administratives",
      "perseguimenti e sanzioni amministrativi e penali"}},
    {"social-assistance",
     {"social assistance", "Massnahmen der sozialen Hilfe", "mesures d’aide sociale",
      "misure di assistenza sociale"}},
    {"sexual-orientation",
     {"sexual orientation", "sexuelle Orientierung", "orientation sexuelle", "orientamento sessuale"}},
    /* actions in the audit log */
    {"record.read",
     {"read a record", "Eintrag gelesen", "a lu un enregistrement", "ha letto una registrazione"}},
    {"record.list",
     {"listed records", "Einträge aufgelistet", "a listé des enregistrements", "ha elencato registrazioni"}},
    {"record.versions",
     {"read earlier versions", "frühere Fassungen gelesen", "a lu des versions antérieures",
      "ha letto versioni precedenti"}},
    {"record.lookup", {"searched", "gesucht", "a recherché", "ha cercato"}},
    {"record.create",
     {"added a record", "Eintrag hinzugefügt", "a ajouté un enregistrement",
      "ha aggiunto una registrazione"}},
    {"record.import",
     {"imported records", "Einträge importiert", "a importé des enregistrements",
      "ha importato registrazioni"}},
    {"record.replace",
     {"replaced a record", "Eintrag ersetzt", "a remplacé un enregistrement",
      "ha sostituito una registrazione"}},
    {"record.patch",
     {"changed a record", "Eintrag geändert", "a modifié un enregistrement",
      "ha modificato una registrazione"}},
    {"record.delete",
     {"deleted a record", "Eintrag gelöscht", "a effacé un enregistrement",
      "ha cancellato una registrazione"}},
    {"retention.erase",
     {"erased when due", "nach Ablauf der Frist gelöscht", "effacé à l’échéance",
      "cancellato alla scadenza"}},
    {"subject.create",
     {"registered the person", "Person erfasst", "a enregistré la personne", "ha registrato la persona"}},
    {"subject.read",
     {"looked at the person", "Person angesehen", "a consulté la personne", "ha consultato la persona"}},
    {"subject.export",
     {"exported the data", "Daten exportiert", "a exporté les données", "ha esportato i dati"}},
    {"request.package",
     {"fetched the package", "Paket abgeholt", "a retiré le dossier", "ha ritirato il pacchetto"}},
    {"request.create",
     {"filed a request", "Begehren gestellt", "a déposé une demande", "ha presentato una richiesta"}},
    {"request.fulfil",
     {"fulfilled a request", "Begehren erfüllt", "a satisfait à une demande", "ha adempiuto una richiesta"}},
    {"grant.create",
     {"gave a grant", "Freigabe erteilt", "a donné une autorisation", "ha rilasciato un’autorizzazione"}},
    {"grant.withdraw",
     {"withdrew a grant", "Freigabe widerrufen", "a retiré une autorisation",
      "ha revocato un’autorizzazione"}},
    {"access.list",
     {"looked at the accesses", "Zugriffe angesehen", "a consulté les accès", "ha consultato gli accessi"}},
    /* units */
    {"Y", {"year(s)", "Jahr(e)", "an(s)", "anno/i"}},
    {"M", {"month(s)", "Monat(e)", "mois", "mese/i"}},
    {"W", {"week(s)", "Woche(n)", "semaine(s)", "settimana/e"}},
    {"D", {"day(s)", "Tag(e)", "jour(s)", "giorno/i"}},
};

static const char *const names[TR_LANG_COUNT] = {"en", "de", "fr", "it"};

const char *tr_text_in(tr_language language, tr_text text) {
    return texts[text][language];
}

const char *tr_language_name(tr_language language) {
    return names[language];
}

bool tr_language_parse(const char *text, size_t len, tr_language *language) {
    for (int i = 0; len >= 2 && i < TR_LANG_COUNT; i++) {
        if (strncasecmp(text, names[i], 2) == 0 && (len == 2 || text[2] == '-')) {
            *language = (tr_language)i;
            return true;
        }
    }
    return false;
}

const char *tr_text_of(tr_language language, const char *code) {
    for (size_t i = 0; code && i < sizeof codes / sizeof *codes; i++) {
        if (strcmp(codes[i].code, code) == 0)
            return codes[i].texts[language];
    }
    return code;
}

void tr_text_duration(tr_language language, const char *duration, tr_buf *out) {
    const char *digits = duration[0] == 'P' ? duration + 1 : "";
    size_t n = strspn(digits, "0123456789");
    if (n > 0 && strchr("YMWD", digits[n]) && digits[n] && !digits[n + 1]) {
        tr_buf_append(out, digits, n);
        tr_buf_putc(out, ' ');
        tr_buf_puts(out, tr_text_of(language, digits + n));
    } else {
        tr_buf_puts(out, duration);
    }
}
